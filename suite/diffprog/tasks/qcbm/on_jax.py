"""The Born machine in JAX: reverse mode, gates un-applied by hand, or shifted circuits; the backend compiles.

Shapes as in ``circuits.states``: states are (..., 2ⁿ), complex, leading axes a batch.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffprog.circuits import tables
from diffprog.circuits.states_jax import angle_table, entangle, evolve, layers_of, probabilities, rotate, sweep_back
from diffprog.spec import Functions
from diffprog.tasks.qcbm import kernel
from diffprog.tasks.qcbm.problem import QcbmConfig

Data = dict[str, Array]


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
    n, depth = config.qubits, config.depth
    slots = tables.angle_slots(n, depth)

    def distribution(theta: Array, data: Data) -> Array:
        return probabilities(evolve(layers_of(angle_table(n, depth, theta)), data["permutation"]))

    def discrepancy(p: Array, data: Data) -> tuple[Array, Array]:
        """L = qᵀKq and Kq, q = p − π."""
        q = p - data["target"]
        kq = kernel_product(config, data["sigmas"], q)
        return q @ kq, kq

    def value(theta: Array, data: Data) -> Array:
        return discrepancy(distribution(theta, data), data)[0]

    def adjoint(theta: Array, data: Data) -> tuple[Array, Array]:
        """Un-applies the gates from ψ and λ = (dL/dp) ∘ ψ together; dL = 2 Re <λ|dψ> = m · Im tr(σ R) dθ."""
        table, gather = angle_table(n, depth, theta), data["permutation"]
        layers = layers_of(table)
        psi = evolve(layers, gather)
        loss, kq = discrepancy(probabilities(psi), data)
        pair = jnp.stack([psi, 2 * kq * psi])
        return loss, sweep_back(table, layers, gather, pair).ravel()[slots]

    def parameter_shift(theta: Array, data: Data) -> tuple[Array, Array]:
        """dL/dθ_k = (Kq) · (p(θ + π/2 e_k) − p(θ − π/2 e_k)), from 2P circuits, a chunk of them at a time."""
        loss, kq = discrepancy(distribution(theta, data), data)

        def component(k: Array) -> Array:
            plus, minus = theta.at[k].add(jnp.pi / 2), theta.at[k].add(-jnp.pi / 2)
            return (distribution(plus, data) - distribution(minus, data)) @ kq

        pairs = tables.circuits_at_once(n, depth, theta.dtype.itemsize) // 2
        gradient = jax.lax.map(component, jnp.arange(theta.size), batch_size=min(pairs, theta.size))
        return loss, gradient

    def outputs(theta: Array, data: Data) -> Data:
        return {"distribution": distribution(theta, data)}

    def work(theta: Array, data: Data) -> dict[str, int]:
        tally, gather = tables.Tally(), data["permutation"]
        with jax.disable_jit():  # the scan's body then really runs once a layer
            evolve(layers_of(angle_table(n, depth, theta)), gather, tally.rotating(rotate), tally.entangling(entangle))
        return tally.work(theta.size, slots.size, np.asarray(data["cnots"]), np.asarray(gather))

    gradients = {"reverse": jax.value_and_grad(value), "adjoint": adjoint, "parameter_shift": parameter_shift}
    return Functions(value, gradients[method], outputs, work, "jit", value if method == "reverse" else None)
