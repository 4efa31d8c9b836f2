"""The Born machine in PyTorch, eager: autograd, gates un-applied by hand, or batches of shifted circuits.

Shapes as in ``circuits.states``: states are (..., 2ⁿ), complex, leading axes a batch.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from diffprog.circuits import tables
from diffprog.circuits.states_torch import (
    Data,
    angle_table,
    constants,
    entangle,
    evolve,
    layers_of,
    probabilities,
    rotate,
    sweep_back,
)
from diffprog.spec import Functions
from diffprog.tasks.qcbm import expert_torch
from diffprog.tasks.qcbm.kernel_torch import kernel_product
from diffprog.tasks.qcbm.problem import QcbmConfig


def build(config: QcbmConfig, method: str) -> Functions:
    """The task's functions on tensors of one device; ``theta`` (P,) decides the precision."""
    n, depth = config.qubits, config.depth

    def distribution(theta: Tensor, data: Data) -> Tensor:
        return probabilities(evolve(layers_of(angle_table(n, depth, theta)), data["permutation"]))

    def discrepancy(p: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        """L = qᵀKq and Kq, q = p − π."""
        q = p - data["target"]
        kq = kernel_product(config, data["sigmas"], q)
        return q @ kq, kq

    def value(theta: Tensor, data: Data) -> Tensor:
        return discrepancy(distribution(theta, data), data)[0]

    def reverse(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        leaf = theta.detach().requires_grad_()
        loss = value(leaf, data)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return loss.detach(), gradient

    def adjoint(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        """Un-applies the gates from ψ and λ = (dL/dp) ∘ ψ together; dL = 2 Re <λ|dψ> = m · Im tr(σ R) dθ."""
        table, gather = angle_table(n, depth, theta.detach()), data["permutation"]
        layers = layers_of(table)
        psi = evolve(layers, gather)
        loss, kq = discrepancy(probabilities(psi), data)
        fixed = constants(n, depth, theta.device, theta.dtype)
        derivatives = sweep_back(table, layers, gather, torch.stack([psi, 2 * kq * psi]), fixed.pauli)
        return loss, derivatives.flatten()[fixed.slots]

    def parameter_shift(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        """dL/dθ_k = (Kq) · (p(θ + π/2 e_k) − p(θ − π/2 e_k)), from 2P circuits, a chunk of them at a time."""
        theta = theta.detach()
        loss, kq = discrepancy(distribution(theta, data), data)
        pairs = tables.circuits_at_once(n, depth, theta.element_size()) // 2
        parts = []
        every = torch.arange(len(theta), device=theta.device)
        for chosen in every.split(pairs):
            shift = math.pi / 2 * (chosen[:, None] == every).to(theta.dtype)
            plus, minus = distribution(torch.stack([theta + shift, theta - shift]), data)
            parts.append((plus - minus) @ kq)
        return loss, torch.cat(parts)

    def outputs(theta: Tensor, data: Data) -> Data:
        return {"distribution": distribution(theta, data)}

    def work(theta: Tensor, data: Data) -> dict[str, int]:
        tally = tables.Tally()
        gather = data["permutation"]
        evolve(layers_of(angle_table(n, depth, theta)), gather, tally.rotating(rotate), tally.entangling(entangle))
        rotations = constants(n, depth, theta.device, theta.dtype).slots.numel()
        return tally.work(theta.numel(), rotations, np.asarray(data["cnots"].cpu()), np.asarray(gather.cpu()))

    gradients = {"reverse": reverse, "adjoint": adjoint, "parameter_shift": parameter_shift}
    if method != "reverse":
        return Functions(value, gradients[method], outputs, work, "eager")
    return Functions(value, reverse, outputs, work, "eager", value, expert=expert_torch.build(config))
