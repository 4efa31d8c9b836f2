"""The Born machine in JAX: reverse mode, gates un-applied by hand, or shifted circuits; the backend compiles.

Shapes as in ``circuits.states``: states are (..., 2ⁿ), complex, leading axes a batch.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from diffprog.circuits import tables
from diffprog.circuits.states_jax import probabilities, rotate
from diffprog.spec import Functions
from diffprog.tasks.qcbm import adversarial_jax, kernel, machine_jax
from diffprog.tasks.qcbm.machine_jax import Data
from diffprog.tasks.qcbm.problem import QcbmConfig


def kernel_product(config: QcbmConfig, sigmas: Array, q: Array) -> Array:
    """K q for q (2ⁿ,), K = Σ_σ exp(−|x−y|²/2σ); the 2ⁿ x 2ⁿ matrix is formed only where the configuration says so."""
    size = len(q)
    if config.kernel == "hamming":
        distances = [kernel.hamming_distances(len(group)) for group in tables.groups(config.qubits)]
        factors = [jnp.exp(-jnp.asarray(h, q.dtype) / (2 * sigmas[:, None, None])) for h in distances]
        return rotate(factors, jnp.broadcast_to(q, (len(sigmas), size))).sum(axis=0)
    x = jnp.arange(size, dtype=q.dtype)
    if config.dense_kernel:
        return jnp.exp(-jnp.square(x[:, None] - x) / (2 * sigmas[:, None, None])).sum(axis=0) @ q
    column = jnp.exp(-jnp.square(x) / (2 * sigmas[:, None])).sum(axis=0)
    circulant = jnp.concatenate([column, jnp.zeros_like(column[:1]), column[:0:-1]])
    return jnp.fft.irfft(jnp.fft.rfft(circulant) * jnp.fft.rfft(q, 2 * size), 2 * size)[:size]


def build(config: QcbmConfig, method: str) -> Functions:
    """The task's functions on JAX arrays, all of them traceable in (theta, data)."""
    return adversarial_jax.build(config, method) if config.hidden else discrepancies(config, method)


def discrepancies(config: QcbmConfig, method: str) -> Functions:
    """The loss is the maximum mean discrepancy."""

    def discrepancy(p: Array, data: Data) -> tuple[Array, Array]:
        """L = qᵀKq and Kq, q = p − π."""
        q = p - data["target"]
        kq = kernel_product(config, data["sigmas"], q)
        return q @ kq, kq

    def value(theta: Array, data: Data) -> Array:
        return discrepancy(machine_jax.distribution(config, theta, data), data)[0]

    def adjoint(theta: Array, data: Data) -> tuple[Array, Array]:
        """Un-applies the gates from ψ and λ = (dL/dp) ∘ ψ together; dL = 2 Re <λ|dψ> = m · Im tr(σ R) dθ."""
        psi, back = machine_jax.forwards(config, theta, data)
        loss, kq = discrepancy(probabilities(psi), data)
        return loss, back(2 * kq * psi)

    def parameter_shift(theta: Array, data: Data) -> tuple[Array, Array]:
        """dL/dθ_k = (Kq) · (p(θ + π/2 e_k) − p(θ − π/2 e_k)), from 2P circuits."""
        loss, kq = discrepancy(machine_jax.distribution(config, theta, data), data)
        return loss, machine_jax.shifted(config, theta, data, kq)

    def outputs(theta: Array, data: Data) -> Data:
        return {"distribution": machine_jax.distribution(config, theta, data)}

    def work(theta: Array, data: Data) -> dict[str, int]:
        return machine_jax.work(config, theta, data, theta.size)

    gradients = {"reverse": jax.value_and_grad(value), "adjoint": adjoint, "parameter_shift": parameter_shift}
    return Functions(value, gradients[method], outputs, work, "jit", value if method == "reverse" else None)
