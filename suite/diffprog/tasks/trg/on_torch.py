"""The tensor renormalisation group in PyTorch, eager; see ``split_torch`` for how the truncated SVD is differentiated.

Shapes as in ``reference``: tensors are (n, D, D, D, D) with legs up, left, down, right.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffprog.spec import Functions
from diffprog.tasks.trg import lattice, polar
from diffprog.tasks.trg.lattice import Step
from diffprog.tasks.trg.problem import TrgConfig
from diffprog.tasks.trg.split_torch import split, split_once

Data = dict[str, Tensor]
Split = Callable[[Tensor, int], tuple[Tensor, Tensor, Tensor]]
Contract = Callable[[str, Tensor, Tensor], Tensor]
SWITCHES = {"cpu": {"svd": "LAPACK gesdd"}, "cuda": {"svd": polar.NAME}}


def initial(couplings: Tensor) -> Tensor:
    """The spins' tensors (n, 2, 2, 2, 2) from the couplings (n, 4) of their bonds up, left, down, right, all > 0."""
    q = (2 * torch.stack([couplings.cosh(), couplings.sinh()], dim=-1)).sqrt()
    bits = torch.arange(2, device=q.device)
    odd = (bits[:, None, None, None] + bits[:, None, None] + bits[:, None] + bits) % 2
    return torch.einsum("ni,nj,nk,nl->nijkl", *q.unbind(1)) * (1 - odd) / 2


def coarsen(tensors: Tensor, table: Tensor, step: Step, split: Split, contract: Contract) -> tuple[Tensor, Tensor]:
    """The new tensors (half, χ, χ, χ, χ), and the singular values (χ,) of the first matrix."""
    half, dim = step.half, step.dim
    matrices = torch.cat([tensors[:half], tensors[-half:].permute(0, 2, 3, 1, 4)]).view(2 * half, dim**2, dim**2)
    left, right, s = split(matrices, step.keep)
    left, right = left.unflatten(1, (dim, dim)), right.unflatten(1, (dim, dim))
    top_left, top_right, bottom_left, bottom_right = table
    pair = contract("nxwu,nyxl->nulwy", left[half:][top_right], right[:half][top_left])
    other = contract("nyzd,nwzr->nwydr", right[half:][bottom_left], left[:half][bottom_right])
    return contract("nulwy,nwydr->nuldr", pair, other), s[0]


def build(config: TrgConfig, method: str) -> Functions:
    """The task's functions on tensors of one device; ``theta`` (P,) decides the precision."""
    plan = lattice.steps(config.side, config.chi, config.iterations)

    def evaluate(
        theta: Tensor, data: Data, split: Split = split_once, contract: Contract = torch.einsum
    ) -> tuple[Tensor, Tensor]:
        """Ln Z per site, and the last singular values (χ,)."""
        tensors = initial(theta[data["bonds"]])
        value, spectrum = theta.new_zeros(()), theta.new_ones(1)
        for step, weight in zip(plan, data["weights"], strict=False):
            scale = tensors.detach().abs().amax(dim=(1, 2, 3, 4), keepdim=True)  # ln Z does not depend on it
            value = value + weight * scale.log().mean()
            table = data["plaquettes"][:, step.columns]
            tensors, spectrum = coarsen(tensors / scale, table, step, split, contract)
        return value + data["weights"][-1] * torch.einsum("nxyxy->", tensors).log(), spectrum

    def loss(theta: Tensor, data: Data) -> Tensor:
        return evaluate(theta, data, split)[0]

    @torch.no_grad()
    def value(theta: Tensor, data: Data) -> Tensor:
        return evaluate(theta, data)[0]

    def reverse(theta: Tensor, data: Data) -> tuple[Tensor, Tensor, Tensor]:
        leaf = theta.detach().requires_grad_()
        found, spectrum = evaluate(leaf, data)
        (gradient,) = torch.autograd.grad(found, leaf)
        return found.detach(), gradient, spectrum

    def gradient(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        return reverse(theta, data)[:2]

    def outputs(theta: Tensor, data: Data) -> Data:
        found, slope, spectrum = reverse(theta, data)
        return {
            "free_energy": -found,
            "energy": -slope.sum(),
            "correlations": slope * config.sites_per_bond,
            "spectrum": spectrum / spectrum[0],
        }

    @torch.no_grad()
    def work(theta: Tensor, data: Data) -> dict[str, int]:
        tally = lattice.Tally()
        evaluate(theta, data, tally.splitting(split_once), tally.contracting(torch.einsum))
        return tally.work(theta.numel())

    return Functions(value, gradient, outputs, work, "eager", loss, switches=SWITCHES)
