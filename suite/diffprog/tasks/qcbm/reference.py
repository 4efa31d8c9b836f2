"""The reference: NumPy, with every derivative written by hand.

Shapes: a state is (..., 2ⁿ), complex128 for float64 angles and complex64 for float32; leading axes are a batch.

Sources: Liu, Wang, arXiv:1804.04168 (the circuit, the loss as a maximum mean discrepancy, its gradient from shifted
circuits); Jones, Gacon, arXiv:2009.02823 and Luo et al., arXiv:1912.10877, section on reversible differentiation
(``adjoint``); Mitarai et al., arXiv:1803.00745 and Schuld et al., arXiv:1811.11184 (``parameter_shift``).
"""

from __future__ import annotations

from functools import partial

from diffprog.circuits.states import probabilities
from diffprog.spec import Array, Arrays, Functions
from diffprog.tasks.qcbm import adversarial, machine, second
from diffprog.tasks.qcbm.kernel import kernel_product
from diffprog.tasks.qcbm.problem import QcbmConfig


def build(config: QcbmConfig, method: str) -> Functions:
    """The task's functions on NumPy arrays; data are the arrays of ``problem.draw`` without ``params``."""
    return adversarial.build(config, method) if config.hidden else discrepancies(config, method)


def discrepancies(config: QcbmConfig, method: str) -> Functions:
    """The loss is the maximum mean discrepancy."""

    def discrepancy(p: Array, data: Arrays) -> tuple[Array, Array]:
        """L = qᵀKq and Kq, q = p − π."""
        q = p - data["target"]
        kq = kernel_product(config, data["sigmas"], q)
        return q @ kq, kq

    def value(theta: Array, data: Arrays) -> Array:
        return discrepancy(machine.distribution(config, theta, data), data)[0]

    def reverse(theta: Array, data: Arrays) -> tuple[Array, Array]:
        """Carries λ = (dL/dp) ∘ ψ backwards: dL = 2 Re <λ|dψ>."""
        psi, back = machine.forwards(config, method, theta, data)
        loss, kq = discrepancy(probabilities(psi), data)
        return loss, back(2 * kq * psi)

    def parameter_shift(theta: Array, data: Arrays) -> tuple[Array, Array]:
        """dL/dθ_k = (Kq) · (p(θ + π/2 e_k) − p(θ − π/2 e_k)), from 2P circuits."""
        loss, kq = discrepancy(machine.distribution(config, theta, data), data)
        return loss, machine.shifted(config, theta, data, kq)

    def outputs(theta: Array, data: Arrays) -> Arrays:
        return {"distribution": machine.distribution(config, theta, data)}

    def work(theta: Array, data: Arrays) -> dict[str, int]:
        return machine.work(config, theta, data, theta.size)

    gradient = parameter_shift if method == "parameter_shift" else reverse
    jvp, hvp = (partial(rule, config) if method == "reverse" else None for rule in (second.jvp, second.hvp))
    return Functions(value, gradient, outputs, work, made_with="hand", jvp=jvp, hvp=hvp)
