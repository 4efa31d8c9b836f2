"""The circuit as the Born machine's losses see it, in PyTorch; see ``machine``.

Shapes as in ``circuits.states``: states are (..., 2ⁿ), complex, leading axes a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from diffprog.circuits import tables
from diffprog.circuits.states_torch import (
    Data,
    angle_table,
    by_shifts,
    constants,
    entangle,
    evolve,
    layers_of,
    probabilities,
    rotate,
    sweep_back,
)
from diffprog.tasks.qcbm.problem import QcbmConfig

Back = Callable[[Tensor], Tensor]
"""From the last state's cotangent λ (2ⁿ,), dL = 2 Re <λ|dψ>, to dL/dangles (A,)."""


def distribution(config: QcbmConfig, angles: Tensor, data: Data) -> Tensor:
    """Its p (..., 2ⁿ) at angles (..., A)."""
    return probabilities(evolve(layers_of(angle_table(config.qubits, config.depth, angles)), data["permutation"]))


def forwards(config: QcbmConfig, angles: Tensor, data: Data) -> tuple[Tensor, Back]:
    """ψ (2ⁿ,) and the way back, on which the gates are un-applied from ψ and λ together."""
    table, gather = angle_table(config.qubits, config.depth, angles), data["permutation"]
    layers = layers_of(table)
    psi = evolve(layers, gather)

    def back(cotangent: Tensor) -> Tensor:
        fixed = constants(config.qubits, config.depth, angles.device, angles.dtype)
        derivatives = sweep_back(table, layers, gather, torch.stack([psi, cotangent]), fixed.pauli)
        return derivatives.flatten()[fixed.slots]

    return psi, back


def shifted(config: QcbmConfig, angles: Tensor, data: Data, weights: Tensor) -> Tensor:
    """``weights`` · (p(θ + π/2 e_k) − p(θ − π/2 e_k)) of each angle, (A,), from 2A circuits, a chunk at a time."""

    def slope(above: Tensor, below: Tensor) -> Tensor:
        plus, minus = distribution(config, torch.stack([above, below]), data)
        return (plus - minus) @ weights

    return by_shifts(slope, angles, tables.circuits_at_once(config.qubits, config.depth, angles.element_size()) // 2)


def work(config: QcbmConfig, angles: Tensor, data: Data, parameters: int) -> dict[str, int]:
    """Counts the gates that one circuit really passes through."""
    tally, gather = tables.Tally(), data["permutation"]
    layers = layers_of(angle_table(config.qubits, config.depth, angles))
    evolve(layers, gather, tally.rotating(rotate), tally.entangling(entangle))
    rotations = constants(config.qubits, config.depth, angles.device, angles.dtype).slots.numel()
    return tally.work(parameters, rotations, np.asarray(data["cnots"].cpu()), np.asarray(gather.cpu()))
