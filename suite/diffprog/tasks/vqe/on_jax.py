"""Energies of circuits in JAX: reverse mode, gates un-applied by hand, or shifted circuits; the backend compiles.

A state is (2ⁿ,), complex. A scan goes over layers, for ``adjoint`` a second one backwards.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from diffprog.circuits.states_jax import probabilities
from diffprog.spec import Functions
from diffprog.tasks.vqe import alternating_jax, rotations_jax
from diffprog.tasks.vqe.hamiltonian_jax import Data, apply, expectation
from diffprog.tasks.vqe.problem import VqeConfig


def build(config: VqeConfig, method: str) -> Functions:
    """The task's functions on JAX arrays, all of them traceable in (theta, data)."""
    circuit: alternating_jax.Circuit | rotations_jax.Circuit
    circuit = (alternating_jax if config.alternating else rotations_jax).Circuit(config)

    def energy(state: Array, data: Data) -> Array:
        return expectation(state, apply(config, data, state))

    def value(theta: Array, data: Data) -> Array:
        return energy(circuit.final(theta, data), data)

    def adjoint(theta: Array, data: Data) -> tuple[Array, Array]:
        """Un-applies the gates from ψ and λ = Hψ together; dL = 2 Re <λ|dψ>."""
        psi = circuit.final(theta, data)
        image = apply(config, data, psi)
        return expectation(psi, image), circuit.sweep_back(theta, data, jnp.stack([psi, image]))

    def parameter_shift(theta: Array, data: Data) -> tuple[Array, Array]:
        return value(theta, data), circuit.shifted(theta, data, lambda state: energy(state, data))

    def outputs(theta: Array, data: Data) -> Data:
        return {"distribution": probabilities(circuit.final(theta, data))}

    gradients = {"reverse": jax.value_and_grad(value), "adjoint": adjoint, "parameter_shift": parameter_shift}
    loss = value if method == "reverse" else None
    return Functions(value, gradients[method], outputs, circuit.work, "jit", loss)
