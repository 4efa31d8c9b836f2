"""The transverse-field Ising chain on the host: index tables that all Python backends share, the matrix, the operator.

H = −Σ_i J_i Z_i Z_{i+1} − Σ_i h_i X_i on L sites, periodic. Site i is bit i of a basis index, site 0 the least
significant one; a bit 0 is Z = +1. Bond i joins sites i and i+1, bond L−1 joins L−1 and 0.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from diffprog.spec import Array


@cache
def spins(sites: int) -> Array:
    """Z of each site in each basis state: shape (2ᴸ, L), int64, ±1."""
    return np.asarray(1 - 2 * (np.arange(2**sites)[:, None] >> np.arange(sites) & 1))


@cache
def bonds(sites: int) -> Array:
    """Z_i Z_{i+1} of each bond in each basis state: shape (2ᴸ, L), int64, ±1. All but the last: an open chain."""
    return np.asarray(spins(sites) * np.roll(spins(sites), -1, axis=1))


@cache
def flips(sites: int) -> Array:
    """The basis state that X_i makes of each basis state: shape (2ᴸ, L), int64."""
    return np.asarray(np.arange(2**sites)[:, None] ^ 1 << np.arange(sites))


def halves(sites: int) -> tuple[int, int]:
    """The chain cut in two: the number of low sites 0…b−1 and of high sites b…L−1."""
    return sites // 2, sites - sites // 2


def bound(theta: Array) -> Array:
    """Σ|J| + Σ|h| ≥ ‖H‖: the scale that rounding in eigenvalues is measured by."""
    return np.asarray(np.abs(theta).sum())


def matrix(J: Array, h: Array) -> Array:
    """H as a dense matrix (2ᴸ, 2ᴸ) from J and h (L,); J of shape (L−1,) makes an open chain."""
    sites, size = len(h), 2 ** len(h)
    state = np.arange(size)
    H = np.zeros((size, size), h.dtype)
    H[state[:, None], flips(sites)] = -h
    H[state, state] = -(bonds(sites)[:, : len(J)].astype(h.dtype) @ J)
    return H


def matrix_vjp(w: Array, v: Array) -> Array:
    """d<w|H|v>/dθ for w and v (2ᴸ,), by the tables of ``matrix``: shape (2L,). The cotangent of H here is w vᵀ."""
    sites = len(v).bit_length() - 1
    return -np.concatenate([(w * v) @ bonds(sites).astype(v.dtype), w @ v[flips(sites)]])


class Operator:
    """H without its matrix: the chain is cut in two, and v read as a matrix V (high half, low half).

    H v = H_high V + V H_low + E ∘ V, where the halves are open chains of 2^(L/2) states and E is the energy of the two
    bonds between them: two small matrix products, whatever the framework, and one vector of memory.
    """

    def __init__(self, theta: Array) -> None:
        sites = len(theta) // 2
        self.cut, above = halves(sites)
        J, h = theta[:sites], theta[sites:]
        self.low = matrix(J[: self.cut - 1], h[: self.cut])
        self.high = matrix(J[self.cut : -1], h[self.cut :])
        low, high = spins(self.cut).astype(theta.dtype), spins(above).astype(theta.dtype)
        # Bond b−1 joins the last low site to the first high one, bond L−1 the last high site to site 0.
        self.between = high[:, [0, -1]].T, low[:, [-1, 0]].T
        self.edge = -np.einsum("k,ka,kb->ab", J[[self.cut - 1, -1]], *self.between)

    def __call__(self, v: Array) -> Array:
        """H v for v of shape (2ᴸ,)."""
        V = v.reshape(self.edge.shape)
        return np.asarray(self.high @ V + V @ self.low + self.edge * V).ravel()

    def vjp(self, w: Array, v: Array) -> Array:
        """d<w|H|v>/dθ for w and v of shape (2ᴸ,): shape (2L,), from what H leaves of w vᵀ on each half."""
        W, V = w.reshape(self.edge.shape), v.reshape(self.edge.shape)
        low_J, low_h = _open_chain_vjp(W.T @ V)
        high_J, high_h = _open_chain_vjp(W @ V.T)
        across = -np.einsum("ka,ab,kb->k", self.between[0], W * V, self.between[1], optimize=True)
        return np.concatenate([low_J, across[:1], high_J, across[1:], low_h, high_h])


def _open_chain_vjp(H_bar: Array) -> tuple[Array, Array]:
    """The cotangents of J (k−1,) and h (k,) from that of the matrix of an open chain, (2ᵏ, 2ᵏ)."""
    sites = len(H_bar).bit_length() - 1
    state = np.arange(len(H_bar))
    J_bar = -(np.diag(H_bar) @ bonds(sites)[:, :-1].astype(H_bar.dtype))
    return J_bar, -H_bar[state[:, None], flips(sites)].sum(axis=0)
