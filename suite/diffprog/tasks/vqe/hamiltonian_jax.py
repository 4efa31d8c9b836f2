"""Hψ without a matrix, in JAX. A state is (2ⁿ,); see ``hamiltonian``."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from diffprog.circuits import tables
from diffprog.tasks.vqe.hamiltonian import exchange_shape
from diffprog.tasks.vqe.problem import VqeConfig, bonds

Data = dict[str, Array]


def flipped(qubits: int, state: Array) -> Array:
    """Σ_q X_q ψ: one small matrix for each group of qubits."""
    total = jnp.zeros_like(state)
    for group in tables.groups(qubits):
        matrix = jnp.asarray(tables.flips(len(group)), state.dtype)
        seen = state.reshape(-1, len(matrix), 1 << group.start)
        total = total + jnp.einsum("ab,lbr->lar", matrix, seen).reshape(state.shape)
    return total


def apply(config: VqeConfig, data: Data, state: Array) -> Array:
    """Hψ."""
    if config.variant == "maxcut":
        return -data["diagonal"] * state
    if config.variant == "tfim":
        return data["diagonal"] * state - flipped(config.qubits, state)
    total = -data["couplings"].sum() * state
    for index, bond in enumerate(bonds(config).tolist()):
        seen = state.reshape(exchange_shape(bond, state.size))
        total = total + 2 * data["couplings"][index] * seen.swapaxes(-2, -4).ravel()
    return total


def expectation(state: Array, image: Array) -> Array:
    """Re ⟨ψ|Hψ⟩."""
    return (state.real * image.real + state.imag * image.imag).sum()
