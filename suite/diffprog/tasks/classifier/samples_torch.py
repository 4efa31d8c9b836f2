"""The circuit that each sample passes through, in PyTorch; shapes as in ``samples``: a batch of states is (B, 2ⁿ)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffprog.circuits.states_torch import (
    Matrices,
    Rotate,
    angle_table,
    constants,
    evolve,
    layers_of,
    merge,
    probabilities,
    rotate,
    rotate_alike,
    sweep_back,
    unitaries,
    zeros,
)
from diffprog.tasks.classifier.problem import ClassifierConfig


def encoding(config: ClassifierConfig, points: Tensor) -> Matrices:
    """Rz(x₂) Rx(x₁) on every qubit, from points (B, 2) in radians: one matrix (B, 2ᵏ, 2ᵏ) for either half of n = 2k."""
    first, second = points.unbind(-1)
    one = unitaries(torch.stack([torch.zeros_like(first), first, second], dim=-1))
    matrix = merge((one,) * (config.qubits // 2))
    return matrix, matrix


def table_of(config: ClassifierConfig, theta: Tensor) -> Tensor:
    """θ (..., P) as angles (..., d+1, n, 3)."""
    if config.uploads_images:
        return angle_table(config.qubits, config.depth, theta)
    return theta.unflatten(-1, (config.depth + 1, config.qubits, 3))


def start(config: ClassifierConfig, samples: Tensor) -> Tensor:
    """The states (B, 2ⁿ) before the first layer: the images, or |0…0>."""
    begun = samples if config.uploads_images else zeros((len(samples), 1 << config.qubits), samples)
    return torch.complex(begun, torch.zeros_like(begun))


def rotating(config: ClassifierConfig, samples: Tensor, encode: Rotate = rotate) -> Rotate:
    """A layer's rotations on states (..., B, 2ⁿ): the encodings, if there are such, and then the trainable ones."""
    if config.uploads_images:
        return rotate_alike
    own = encoding(config, samples)
    return lambda matrices, states: rotate_alike(matrices, encode(own, states))


def unrotating(config: ClassifierConfig, samples: Tensor) -> Rotate:
    """Undoes ``rotating``, given the adjoints of a layer's matrices."""
    if config.uploads_images:
        return rotate_alike
    undo = tuple(matrix.mH for matrix in encoding(config, samples))
    return lambda adjoints, states: rotate(undo, rotate_alike(adjoints, states))


def final(config: ClassifierConfig, theta: Tensor, samples: Tensor, gather: Tensor) -> Tensor:
    """The states (..., B, 2ⁿ) of θ (..., P) after the circuit."""
    begun = start(config, samples)
    begun = begun.expand(*theta.shape[:-1], *begun.shape)
    return evolve(layers_of(table_of(config, theta)), gather, rotating(config, samples), start=begun)


def swept(config: ClassifierConfig, theta: Tensor, samples: Tensor, gather: Tensor, pair: Tensor) -> Tensor:
    """dL/dθ (P,) from the pair (ψ, λ) of shape (2, B, 2ⁿ), by un-applying the circuit."""
    table, fixed = table_of(config, theta), constants(config.qubits, config.depth, theta.device, theta.dtype)
    undo: Callable[[Matrices, Tensor], Tensor] = unrotating(config, samples)
    slopes = sweep_back(table, layers_of(table), gather, pair, fixed.pauli, undo).flatten()
    return slopes[fixed.slots] if config.uploads_images else slopes


def halves(states: Tensor) -> Tensor:
    """(..., B, 2ⁿ) as (..., B, 2, 2ⁿ⁻¹): qubit n−1 being 0, and being 1."""
    return states.unflatten(-1, (2, -1))


def chances(states: Tensor) -> Tensor:
    """What p and 1 − p are, each a sum of squares: (..., B, 2)."""
    return probabilities(halves(states)).sum(dim=-1)


def weights(labels: Tensor) -> Tensor:
    """What y and 1 − y are: (B, 2)."""
    return torch.stack([labels, 1 - labels], dim=-1)


def likelihood(states: Tensor, labels: Tensor) -> Tensor:
    """The probability ℓ of each sample's label, p or 1 − p: (..., B)."""
    return (weights(labels) * chances(states)).sum(dim=-1)
