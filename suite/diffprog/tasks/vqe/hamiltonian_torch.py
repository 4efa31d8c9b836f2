"""Hψ without a matrix, in PyTorch. States are (..., 2ⁿ), leading axes a batch; see ``hamiltonian``."""

from __future__ import annotations

import torch
from torch import Tensor

from diffprog.circuits.states_torch import Data
from diffprog.tasks.vqe.hamiltonian import exchange_shape
from diffprog.tasks.vqe.problem import VqeConfig, bonds


def flipped(qubits: int, state: Tensor) -> Tensor:
    """Σ_q X_q ψ."""
    shape = state.shape
    return torch.stack([state.reshape(*shape[:-1], -1, 2, 1 << q).flip(-2).reshape(shape) for q in range(qubits)]).sum(
        0
    )


def apply(config: VqeConfig, data: Data, state: Tensor) -> Tensor:
    """Hψ."""
    if config.variant == "maxcut":
        return -data["diagonal"] * state
    if config.variant == "tfim":
        return data["diagonal"] * state - flipped(config.qubits, state)
    total = -data["couplings"].sum() * state
    for bond, coupling in zip(bonds(config).tolist(), data["couplings"].unbind(), strict=True):
        seen = state.unflatten(-1, exchange_shape(bond, state.shape[-1]))
        total = total + 2 * coupling * seen.transpose(-2, -4).reshape(state.shape)
    return total


def expectation(state: Tensor, image: Tensor) -> Tensor:
    """Re ⟨ψ|Hψ⟩ of states and their images."""
    return (state.real * image.real + state.imag * image.imag).sum(dim=-1)
