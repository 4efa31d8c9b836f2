"""Alternating circuits in PyTorch: `tfim` and `maxcut`. What is done is derived in ``alternating``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffprog.circuits import tables
from diffprog.circuits.states_torch import Data, Matrices, layers_of, rotate
from diffprog.tasks.vqe import counting, gates
from diffprog.tasks.vqe.hamiltonian_torch import flipped
from diffprog.tasks.vqe.problem import VqeConfig, bonds, phase_weight

Phase = Callable[[Tensor, Tensor], Tensor]
Rotate = Callable[[Matrices, Tensor], Tensor]


@dataclass(frozen=True)
class Shifts:
    """The gates that are shifted, on one device: see ``gates.Gates``."""

    kinds: Tensor
    layers: Tensor
    bonds: Tensor
    kicks: Tensor
    mixed: Tensor
    """Which qubit of which layer a mixer's gate is on, numbered p·n; p·n for a phase's."""
    low: Tensor
    high: Tensor


SHIFTS: dict[tuple[VqeConfig, torch.device], Shifts] = {}


def shifts(config: VqeConfig, device: torch.device) -> Shifts:
    """Kept, as ``states_torch.constants`` are."""
    key = config, device
    if key not in SHIFTS:
        every, pairs = gates.every(config), bonds(config)
        number = np.where(every.kinds, every.layers * config.qubits + every.qubits, config.depth * config.qubits)
        host = (every.kinds, every.layers, every.bonds, every.kicks, number, *pairs[every.bonds].T.copy())
        SHIFTS[key] = Shifts(*(torch.as_tensor(array, device=device) for array in host))
    return SHIFTS[key]


def phased(turns: Tensor, state: Tensor) -> Tensor:
    """e^{−i turns} ∘ ψ, turns (..., 2ⁿ) real."""
    return torch.exp(-1j * turns) * state


class Circuit:
    def __init__(self, config: VqeConfig) -> None:
        self.config, self.qubits, self.depth = config, config.qubits, config.depth

    def mixers(self, beta: Tensor) -> list[Matrices]:
        """The matrices of each layer from the angles β (..., p, n) of its qubits."""
        none = torch.zeros_like(beta)
        return layers_of(torch.stack([none, 2 * beta, none], dim=-1))

    def alike(self, beta: Tensor) -> list[Matrices]:
        """The same angle β (p,) for all qubits."""
        return self.mixers(beta[:, None].expand(-1, self.qubits))

    def evolve(
        self, turns: list[Tensor], layers: list[Matrices], phase: Phase = phased, rotate: Rotate = rotate
    ) -> Tensor:
        """|+…+> through phases and mixers in turn."""
        state = layers[0][0].new_full((1 << self.qubits,), 2 ** (-self.qubits / 2))
        for turn, matrices in zip(turns, layers, strict=True):
            state = rotate(matrices, phase(turn, state))
        return state

    def final(self, theta: Tensor, data: Data) -> Tensor:
        """ψ (2ⁿ,)."""
        gamma, beta = theta.unflatten(0, (2, self.depth)).unbind()
        return self.evolve([angle * data["diagonal"] for angle in gamma.unbind()], self.alike(beta))

    def sweep_back(self, theta: Tensor, data: Data, pair: Tensor) -> Tensor:
        """dL/dθ (2p,) from the pair (ψ, λ), by un-applying the steps."""
        gamma, beta = theta.unflatten(0, (2, self.depth)).unbind()
        diagonal, slopes, layers = data["diagonal"], [], self.alike(beta)
        for layer in range(self.depth - 1, -1, -1):
            psi, bar = pair
            by_beta = 2 * torch.vdot(bar, flipped(self.qubits, psi)).imag
            pair = rotate(tuple(matrix.mH for matrix in layers[layer]), pair)
            psi, bar = pair
            slopes.append(torch.stack([2 * torch.vdot(bar, diagonal * psi).imag, by_beta]))
            if layer:
                pair = phased(-gamma[layer] * diagonal, pair)
        return torch.stack(slopes[::-1], dim=1).flatten()

    def shifted(self, theta: Tensor, data: Data, energy: Callable[[Tensor], Tensor]) -> Tensor:
        """Each gate e^{−iaP} on its own, dL/da = L(a + π/4) − L(a − π/4), and the parts of a parameter added up."""
        every = shifts(self.config, theta.device)
        gamma, beta = theta.unflatten(0, (2, self.depth)).unbind()
        basis = torch.arange(1 << self.qubits, device=theta.device)
        size = self.depth * self.qubits
        slopes = theta.new_zeros(2 * self.depth)
        at_once = max(1, tables.circuits_at_once(self.qubits, self.depth, theta.element_size()) // 2)
        for start in range(0, len(every.kinds), at_once):
            part = slice(start, start + at_once)
            signs = 1 - 2 * ((basis >> every.low[part, None] ^ basis >> every.high[part, None]) & 1)
            number = torch.arange(size, device=theta.device)
            mixed = (every.mixed[part, None] == number).to(theta.dtype).unflatten(1, (self.depth, self.qubits))
            kicks = every.kicks[part].to(theta.dtype)

            def run(angle: float, kicks: Tensor = kicks, signs: Tensor = signs, mixed: Tensor = mixed) -> Tensor:
                turns = [
                    gamma[layer] * data["diagonal"] + angle * kicks[:, layer, None] * signs
                    for layer in range(self.depth)
                ]
                return energy(self.evolve(turns, self.mixers(beta[:, None] + angle * mixed)))

            found = run(math.pi / 4) - run(-math.pi / 4)
            kinds = every.kinds[part]
            weighed = torch.where(kinds == 1, found, phase_weight(self.config) * found)
            where = kinds * self.depth + every.layers[part]
            slopes = (
                slopes + (where == torch.arange(2 * self.depth, device=theta.device)[:, None]).to(theta.dtype) @ weighed
            )
        return slopes

    def work(self, theta: Tensor, data: Data) -> dict[str, int]:
        gamma, beta = theta.unflatten(0, (2, self.depth)).unbind()
        tally = counting.Tally()
        turns = [angle * data["diagonal"] for angle in gamma.unbind()]
        self.evolve(turns, self.alike(beta), tally.phasing(phased), tally.rotating(rotate))
        host: dict[str, Any] = {name: np.asarray(data[name].cpu()) for name in ("diagonal", "bonds")}
        return tally.work(self.config, theta.numel(), host["diagonal"], host["bonds"])
