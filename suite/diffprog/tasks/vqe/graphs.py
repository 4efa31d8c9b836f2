"""Bonds: rings, and four triangle-free cubic graphs. Host-side.

Sources: Coxeter, "Self-dual configurations and regular graphs", Bull. AMS 56, 413 (1950); Watkins, J. Combin. Theory 6,
152 (1969): the generalised Petersen graphs G(n, k), of which G(5, 2) is Petersen's own, G(8, 3) Möbius and Kantor's,
G(10, 2) the dodecahedron's.
"""

from __future__ import annotations

import numpy as np

from diffprog.spec import Array


def ring(sites: int) -> Array:
    """(i, i+1 mod n), shape (n, 2), int64."""
    return np.array([(i, (i + 1) % sites) for i in range(sites)], dtype=np.int64)


def complete_bipartite(side: int) -> Array:
    """K_{s,s}: every one of 0..s−1 with every one of s..2s−1."""
    return np.array([(i, side + j) for i in range(side) for j in range(side)], dtype=np.int64)


def petersen(n: int, k: int) -> Array:
    """The generalised Petersen graph G(n, k): an outer ring 0..n−1, spokes, an inner star n..2n−1: shape (3n, 2)."""
    outer = [(i, (i + 1) % n) for i in range(n)]
    spokes = [(i, n + i) for i in range(n)]
    inner = [(n + i, n + (i + k) % n) for i in range(n)]
    return np.array(outer + spokes + inner, dtype=np.int64)


GRAPHS = {
    "K3,3": complete_bipartite(3),
    "Petersen": petersen(5, 2),
    "Möbius-Kantor": petersen(8, 3),
    "dodecahedron": petersen(10, 2),
}


def signs(bond: Array, qubits: int) -> Array:
    """z_i z_j = ±1 of all basis states for a bond (i, j): shape (2ⁿ,), int64."""
    x = np.arange(2**qubits)
    return np.asarray(1 - 2 * ((x >> bond[0] ^ x >> bond[1]) & 1))
