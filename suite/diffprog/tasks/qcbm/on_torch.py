"""The Born machine in PyTorch, eager: autograd, gates un-applied by hand, or batches of shifted circuits.

Shapes as in ``simulation``: states are (..., 2ⁿ), complex, leading axes a batch.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from diffprog.spec import Functions
from diffprog.tasks.qcbm import circuit, expert_torch
from diffprog.tasks.qcbm.problem import QcbmConfig
from diffprog.tasks.qcbm.simulation_torch import (
    Constants,
    Data,
    Matrices,
    axes,
    constants,
    entangle,
    evolve,
    kernel_product,
    merge,
    overlaps,
    probabilities,
    rotate,
    unitaries,
)


def build(config: QcbmConfig, method: str) -> Functions:
    """The task's functions on tensors of one device; ``theta`` (P,) decides the precision."""
    n, depth = config.qubits, config.depth
    groups = [slice(group.start, group.stop) for group in circuit.groups(n)]

    def fixed(theta: Tensor) -> Constants:
        return constants(n, depth, theta.device, theta.dtype)

    def angle_table(theta: Tensor) -> Tensor:
        """θ (..., P) as angles (..., d+1, n, 3); gates that are absent turn by zero."""
        empty = theta.new_zeros(*theta.shape[:-1], (depth + 1) * n * 3)
        return empty.index_copy(-1, fixed(theta).slots, theta).unflatten(-1, (depth + 1, n, 3))

    def layers_of(table: Tensor) -> list[Matrices]:
        factors = unitaries(table).unbind(-3)
        merged = [merge(factors[group]) for group in groups]
        return list(zip(*[matrix.unbind(-3) for matrix in merged], strict=True))

    def distribution(theta: Tensor, data: Data) -> Tensor:
        return probabilities(evolve(layers_of(angle_table(theta)), data["permutation"]))

    def discrepancy(p: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        """L = qᵀKq and Kq, q = p − π."""
        q = p - data["target"]
        kq = kernel_product(config, fixed(q).hamming, data["sigmas"], q)
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
        table, gather = angle_table(theta.detach()), data["permutation"]
        layers = layers_of(table)
        psi = evolve(layers, gather)
        loss, kq = discrepancy(probabilities(psi), data)
        inverse = torch.empty_like(gather).scatter_(0, gather, torch.arange(len(gather), device=gather.device))

        pair = torch.stack([psi, 2 * kq * psi])
        moments = []
        for layer in range(depth, 0, -1):
            moments.append(overlaps(pair, fixed(theta).pauli))
            pair = entangle(rotate(tuple(matrix.mH for matrix in layers[layer]), pair), inverse)
        moments.append(overlaps(pair, fixed(theta).pauli))
        by_layer = torch.stack(moments[::-1])
        return loss, (axes(table) @ by_layer.unsqueeze(-1)).flatten()[fixed(theta).slots]

    def parameter_shift(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        """dL/dθ_k = (Kq) · (p(θ + π/2 e_k) − p(θ − π/2 e_k)), from 2P circuits, a chunk of them at a time."""
        theta = theta.detach()
        loss, kq = discrepancy(distribution(theta, data), data)
        pairs = circuit.circuits_at_once(n, depth, theta.element_size()) // 2
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
        tally = circuit.Tally()
        gather = data["permutation"]
        evolve(layers_of(angle_table(theta)), gather, tally.rotating(rotate), tally.entangling(entangle))
        rotations = fixed(theta).slots.numel()
        return tally.work(theta.numel(), rotations, np.asarray(data["cnots"].cpu()), np.asarray(gather.cpu()))

    gradients = {"reverse": reverse, "adjoint": adjoint, "parameter_shift": parameter_shift}
    if method != "reverse":
        return Functions(value, gradients[method], outputs, work, "eager")
    return Functions(value, reverse, outputs, work, "eager", value, expert=expert_torch.build(config))
