"""The reference: NumPy, with every derivative written by hand.

Shapes: a state is (..., 2ⁿ), complex128 for float64 angles and complex64 for float32; leading axes are a batch.

Sources: Liu, Wang, arXiv:1804.04168 (the circuit, the loss as a maximum mean discrepancy, its gradient from shifted
circuits); Jones, Gacon, arXiv:2009.02823 and Luo et al., arXiv:1912.10877, section on reversible differentiation
(``adjoint``); Mitarai et al., arXiv:1803.00745 and Schuld et al., arXiv:1811.11184 (``parameter_shift``).
"""

from __future__ import annotations

from collections import deque
from functools import partial

import numpy as np

from diffprog.circuits import tables
from diffprog.circuits.states import (
    angle_table,
    entangle,
    evolve,
    layers_of,
    probabilities,
    rotate,
    sweep_back,
)
from diffprog.spec import Array, Arrays, Functions
from diffprog.tasks.qcbm import second
from diffprog.tasks.qcbm.kernel import kernel_product
from diffprog.tasks.qcbm.problem import QcbmConfig


def build(config: QcbmConfig, method: str) -> Functions:
    """The task's functions on NumPy arrays; data are the arrays of ``problem.draw`` without ``params``."""
    n, depth = config.qubits, config.depth
    slots = tables.angle_slots(n, depth)
    parts = tables.groups(n)

    def distribution(theta: Array, data: Arrays) -> Array:
        (state,) = deque(evolve(layers_of(angle_table(n, depth, theta), parts), data["permutation"]), maxlen=1)
        return probabilities(state)

    def discrepancy(p: Array, data: Arrays) -> tuple[Array, Array]:
        """L = qᵀKq and Kq, q = p − π."""
        q = p - data["target"]
        kq = kernel_product(config, data["sigmas"], q)
        return q @ kq, kq

    def value(theta: Array, data: Arrays) -> Array:
        return discrepancy(distribution(theta, data), data)[0]

    def reverse(theta: Array, data: Arrays) -> tuple[Array, Array]:
        """Carries λ = (dL/dp) ∘ ψ backwards: dL = 2 Re <λ|dψ>. ψ is kept, or un-applied as λ is (``adjoint``)."""
        table, gather = angle_table(n, depth, theta), data["permutation"]
        layers = layers_of(table, parts)
        kept = deque(evolve(layers, gather), maxlen=1 if method == "adjoint" else None)
        loss, kq = discrepancy(probabilities(kept[-1]), data)
        return loss, sweep_back(table, layers, gather, kept, 2 * kq * kept[-1]).ravel()[slots]

    def parameter_shift(theta: Array, data: Arrays) -> tuple[Array, Array]:
        """dL/dθ_k = (Kq) · (p(θ + π/2 e_k) − p(θ − π/2 e_k)), from 2P circuits, a chunk of them at a time."""
        loss, kq = discrepancy(distribution(theta, data), data)
        gradient = np.empty_like(theta)
        pairs = tables.circuits_at_once(n, depth, theta.itemsize) // 2
        for start in range(0, len(theta), pairs):
            chosen = np.arange(start, min(start + pairs, len(theta)))
            shift = np.zeros((len(chosen), len(theta)), theta.dtype)
            shift[np.arange(len(chosen)), chosen] = np.pi / 2
            plus, minus = distribution(theta + shift, data), distribution(theta - shift, data)
            gradient[chosen] = (plus - minus) @ kq
        return loss, gradient

    def outputs(theta: Array, data: Arrays) -> Arrays:
        return {"distribution": distribution(theta, data)}

    def work(theta: Array, data: Arrays) -> dict[str, int]:
        tally, layers = tables.Tally(), layers_of(angle_table(n, depth, theta), parts)
        deque(evolve(layers, data["permutation"], tally.rotating(rotate), tally.entangling(entangle)), maxlen=0)
        return tally.work(theta.size, slots.size, data["cnots"], data["permutation"])

    gradient = parameter_shift if method == "parameter_shift" else reverse
    jvp, hvp = (partial(rule, config) if method == "reverse" else None for rule in (second.jvp, second.hvp))
    return Functions(value, gradient, outputs, work, made_with="hand", jvp=jvp, hvp=hvp)
