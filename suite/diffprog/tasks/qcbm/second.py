"""Directional derivatives of the discrepancy by hand: L̇ = dL/dθ·v and the tangent of the gradient, d²L/dθ²·v.

``circuits.second`` has the circuit's part. The loss's is

    at the end  L = qᵀKq,   ṗ = 2 Re ψ*ψ̇,   L̇ = 2 (Kq)·ṗ,   λ = 2 Kq ∘ ψ,   λ̇ = 2 Kṗ ∘ ψ + 2 Kq ∘ ψ̇,

where the term in Kṗ is K's own share of the second derivative: the quadratic form's.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from diffprog.circuits import tables
from diffprog.circuits.second import evolve, path, sweep_back
from diffprog.circuits.states import probabilities
from diffprog.spec import Array, Arrays
from diffprog.tasks.qcbm.kernel import kernel_product
from diffprog.tasks.qcbm.problem import QcbmConfig


def residual(config: QcbmConfig, data: Arrays, psi: Array, psi_dot: Array) -> tuple[Array, Array, Array]:
    """L, Kq and ṗ, q = p − π."""
    q = probabilities(psi) - data["target"]
    kq = kernel_product(config, data["sigmas"], q)
    return q @ kq, kq, np.asarray(2 * (psi.conj() * psi_dot).real)


def jvp(config: QcbmConfig, theta: Array, data: Arrays, v: Array) -> tuple[Array, Array]:
    """L and dL/dθ·v; no state is kept."""
    along = path(config.qubits, config.depth, theta, v)
    ((psi, psi_dot),) = deque(evolve(along, data["permutation"]), maxlen=1)
    loss, kq, p_dot = residual(config, data, psi, psi_dot)
    return loss, np.asarray(2 * (kq @ p_dot))


def hvp(config: QcbmConfig, theta: Array, data: Arrays, v: Array) -> tuple[Array, Array]:
    """L and d²L/dθ²·v (P,); ψ and ψ̇ of all layers are kept."""
    along, gather = path(config.qubits, config.depth, theta, v), data["permutation"]
    kept = list(evolve(along, gather))
    psi, psi_dot = kept[-1]
    loss, kq, p_dot = residual(config, data, psi, psi_dot)
    bar = 2 * kq * psi
    bar_dot = 2 * (kernel_product(config, data["sigmas"], p_dot) * psi + kq * psi_dot)
    product = sweep_back(along, gather, kept, bar, bar_dot)
    return loss, product.ravel()[tables.angle_slots(config.qubits, config.depth)]
