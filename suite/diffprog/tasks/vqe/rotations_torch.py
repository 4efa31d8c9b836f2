"""Layers of rotations and CNOTs in PyTorch: `heisenberg`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from diffprog.circuits import tables
from diffprog.circuits.states_torch import (
    Constants,
    Data,
    angle_table,
    by_shifts,
    constants,
    entangle,
    evolve,
    layers_of,
    rotate,
    sweep_back,
)
from diffprog.tasks.vqe.problem import VqeConfig


class Circuit:
    def __init__(self, config: VqeConfig) -> None:
        self.qubits, self.depth = config.qubits, config.depth

    def fixed(self, theta: Tensor) -> Constants:
        return constants(self.qubits, self.depth, theta.device, theta.dtype)

    def table(self, theta: Tensor) -> Tensor:
        return angle_table(self.qubits, self.depth, theta)

    def final(self, theta: Tensor, data: Data) -> Tensor:
        """ψ (..., 2ⁿ) of θ (..., P)."""
        return evolve(layers_of(self.table(theta)), data["permutation"])

    def sweep_back(self, theta: Tensor, data: Data, pair: Tensor) -> Tensor:
        """dL/dθ (P,) from the pair (ψ, λ)."""
        table, fixed = self.table(theta), self.fixed(theta)
        return sweep_back(table, layers_of(table), data["permutation"], pair, fixed.pauli).flatten()[fixed.slots]

    def shifted(self, theta: Tensor, data: Data, energy: Callable[[Tensor], Tensor]) -> Tensor:
        """dL/dθ_k = ½(L(θ + π/2 e_k) − L(θ − π/2 e_k)): θ_k/2 multiplies a Pauli matrix. A chunk at a time."""

        def slope(above: Tensor, below: Tensor) -> Tensor:
            plus, minus = energy(self.final(torch.stack([above, below]), data))
            return (plus - minus) / 2

        return by_shifts(slope, theta, tables.circuits_at_once(self.qubits, self.depth, theta.element_size()) // 2)

    def work(self, theta: Tensor, data: Data) -> dict[str, int]:
        tally, gather = tables.Tally(), data["permutation"]
        evolve(layers_of(self.table(theta)), gather, tally.rotating(rotate), tally.entangling(entangle))
        rotations, cnots = self.fixed(theta).slots.numel(), np.asarray(data["cnots"].cpu())
        found = tally.work(theta.numel(), rotations, cnots, np.asarray(gather.cpu()))
        return found | {"entanglers": found.pop("cnots"), "bonds": len(data["bonds"])}
