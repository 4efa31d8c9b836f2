"""The exact energy and gradient of `tfim` at any n and p, from free fermions.

The Jordan-Wigner and Fourier transforms make the ring, n even, of n/2 spins of ½ on their own, one for each
k = π(2m+1)/n, m < n/2: with m_k = (sin k, 0, cos k) and e_z

    ΣZ_iZ_{i+1} = Σ_k 2 m_k·τ,    ΣX_i = Σ_k 2 τ_z,

|+> being all of them along z. A step of the circuit turns the Bloch vector r_k by 4γ about m_k and then by 4β about
z, so L = Σ_k 2 (m_k − e_z)·r_k, and dr = 4 m × r dγ.

Sources: Pfeuty, Ann. Phys. 57, 79 (1970); Wang, Hadfield, Jiang, Rieffel, arXiv:1706.02998 (QAOA on a ring).
"""

from __future__ import annotations

import numpy as np

from diffprog.spec import Array

UP = np.array([0.0, 0.0, 1.0])


def turned(vectors: Array, axes: Array, angle: float) -> Array:
    """Rodrigues: vectors (..., 3) turned about unit axes."""
    along = (vectors * axes).sum(axis=-1, keepdims=True) * axes
    across = np.cross(axes, vectors)
    return np.asarray(along + np.cos(angle) * (vectors - along) + np.sin(angle) * across)


def energy(qubits: int, theta: Array) -> tuple[float, Array]:
    """L and dL/dθ for θ = (γ, β) of shape (2p,), float64; n is even."""
    k = np.pi * (2 * np.arange(qubits // 2) + 1) / qubits
    m = np.stack([np.sin(k), np.zeros_like(k), np.cos(k)], axis=-1)
    z = np.broadcast_to(UP, m.shape)
    gamma, beta = theta.reshape(2, -1)
    r = z
    for angle, mix in zip(gamma, beta, strict=True):
        r = turned(turned(r, m, 4 * angle), z, 4 * mix)
    back = 2 * (m - z)
    loss = float((back * r).sum())
    slopes = np.empty_like(theta)
    by_gamma, by_beta = slopes.reshape(2, -1)
    for layer in range(len(gamma) - 1, -1, -1):
        by_beta[layer] = 4 * (back * np.cross(z, r)).sum()
        back, r = (turned(x, z, -4 * beta[layer]) for x in (back, r))
        by_gamma[layer] = 4 * (back * np.cross(m, r)).sum()
        back, r = (turned(x, m, -4 * gamma[layer]) for x in (back, r))
    return loss, slopes


def ground_energy(qubits: int) -> float:
    """E₀ = −2/sin(π/2n): all r_k along z − m_k."""
    return float(-2 / np.sin(np.pi / (2 * qubits)))
