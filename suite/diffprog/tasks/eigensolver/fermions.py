"""The chain solved in closed form: free fermions, matrices of L × L in place of 2ᴸ × 2ᴸ. No eigensolver of H is used.

Sources: Lieb, Schultz, Mattis, Ann. Phys. 16 (1961) 407 (energies are made of singular values of the hopping matrix M);
Pfeuty, Ann. Phys. 57 (1970) 79 (transverse field); Bravyi, arXiv:quant-ph/0404180 (Gaussian states by correlations).

Even states see an antiperiodic chain of fermions, odd ones a periodic one. In either, with M = U S Vᵀ, the energies are
Σ σ_i s_i, σ_i = ±1, half of them allowed by parity. All couplings must be positive: then the ground state is the even
vacuum, whose correlations are the orthogonal matrix G = U Vᵀ, and two of these overlap by √det ½(1 + G G*ᵀ).
"""

from __future__ import annotations

from itertools import product

import numpy as np

from diffprog.spec import Array


def hopping(theta: Array, *, odd: bool) -> Array:
    """M (L, L): h on the diagonal, −J beside it, the last bond with the boundary's sign."""
    J, h = np.split(theta, 2)
    M = np.diag(h) - np.diag(J[:-1], 1)
    M[-1, 0] += -J[-1] if odd else J[-1]
    return M


def hopping_vjp(M_bar: Array, *, odd: bool) -> Array:
    """Tr(M̄ᵀ dM)/dθ: shape (2L,)."""
    corner = -M_bar[-1, 0] if odd else M_bar[-1, 0]
    return np.concatenate([-np.diag(M_bar, 1), [corner], np.diag(M_bar)])


def overlap(theta: Array, planted: Array) -> tuple[float, Array]:
    """|<v₀(θ)|v₀(θ*)>| and its gradient (2L,), both chains with positive couplings."""
    U, s, Vt = np.linalg.svd(hopping(theta, odd=False))
    other = _correlations(planted)
    A = (np.eye(len(s)) + U @ Vt @ other.T) / 2
    found = float(np.sqrt(np.linalg.det(A)))
    # d ln|<|>| = ½ Tr A⁻¹ dA, and dG = U [(K − Kᵀ)/(s_i + s_j)] Vᵀ for K = Uᵀ dM V: the polar factor of M + dM.
    C = Vt @ other.T @ np.linalg.solve(A, U) / 2
    M_bar = found / 2 * U @ ((C.T - C) / (s[:, None] + s)) @ Vt
    return found, hopping_vjp(M_bar, odd=False)


def _correlations(theta: Array) -> Array:
    U, _, Vt = np.linalg.svd(hopping(theta, odd=False))
    return np.asarray(U @ Vt)


def levels(theta: Array, count: int) -> tuple[Array, Array]:
    """The ``count`` lowest energies (m,) and their gradients (m, 2L); 2ᴸ sums of L terms are formed."""
    found: list[tuple[Array, Array]] = []
    for odd in (False, True):
        M = hopping(theta, odd=odd)
        U, s, Vt = np.linalg.svd(M)
        signs = np.array(list(product((-1, 1), repeat=len(s))))
        # The vacuum (all −) is even where det M > 0, and each + makes another parity.
        excitations = (signs > 0).sum(axis=1) % 2
        signs = signs[excitations == int(odd != (np.linalg.det(M) < 0))]
        energies = signs @ s
        lowest = np.argsort(energies, kind="stable")[:count]
        found.append((energies[lowest], np.array([hopping_vjp(U * signs[k] @ Vt, odd=odd) for k in lowest])))
    energies, slopes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    lowest = np.argsort(energies, kind="stable")[:count]
    return energies[lowest], slopes[lowest]
