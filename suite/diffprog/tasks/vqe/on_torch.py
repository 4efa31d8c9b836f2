"""Energies of circuits in PyTorch, eager: autograd, gates un-applied by hand, or batches of shifted circuits.

Shapes as in ``circuits.states``: states are (..., 2ⁿ), complex, leading axes a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffprog.circuits.states_torch import Data, probabilities
from diffprog.spec import Functions
from diffprog.tasks.torch_autograd import reverse
from diffprog.tasks.vqe import alternating_torch, rotations_torch
from diffprog.tasks.vqe.hamiltonian_torch import apply, expectation
from diffprog.tasks.vqe.problem import VqeConfig


def build(config: VqeConfig, method: str) -> Functions:
    """The task's functions on tensors of one device; ``theta`` (P,) decides the precision."""
    circuit: alternating_torch.Circuit | rotations_torch.Circuit
    circuit = (alternating_torch if config.alternating else rotations_torch).Circuit(config)

    def energy(state: Tensor, data: Data) -> Tensor:
        return expectation(state, apply(config, data, state))

    def value(theta: Tensor, data: Data) -> Tensor:
        return energy(circuit.final(theta, data), data)

    def adjoint(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        """Un-applies the gates from ψ and λ = Hψ together; dL = 2 Re <λ|dψ>."""
        theta = theta.detach()
        psi = circuit.final(theta, data)
        image = apply(config, data, psi)
        return expectation(psi, image), circuit.sweep_back(theta, data, torch.stack([psi, image]))

    def parameter_shift(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        theta = theta.detach()
        return value(theta, data), circuit.shifted(theta, data, lambda state: energy(state, data))

    def outputs(theta: Tensor, data: Data) -> Data:
        return {"distribution": probabilities(circuit.final(theta, data))}

    gradients: dict[str, Callable[[Tensor, Data], tuple[Tensor, Tensor]]]
    gradients = {"reverse": reverse(value), "adjoint": adjoint, "parameter_shift": parameter_shift}
    loss = value if method == "reverse" else None
    return Functions(value, gradients[method], outputs, circuit.work, "eager", loss)
