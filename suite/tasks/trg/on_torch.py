"""The tensor renormalisation group in PyTorch, eager; the truncated SVD has a backward pass of its own.

Shapes as in ``reference``: tensors are (n, D, D, D, D) with legs up, left, down, right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from suite.spec import Functions
from suite.tasks.trg import lattice
from suite.tasks.trg.lattice import Step
from suite.tasks.trg.spec import ETA, TrgConfig

Data = dict[str, Tensor]
Split = Callable[[Tensor, int], tuple[Tensor, Tensor, Tensor]]
Contract = Callable[[str, Tensor, Tensor], Tensor]


def svd(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, s and Vᵀ of (n, m, m)."""
    # cuSOLVER's default, Jacobi (gesvdj), is less accurate on small singular values than QR iteration.
    driver = "gesvd" if matrices.is_cuda else None
    try:
        u, s, vt = torch.linalg.svd(matrices, driver=driver)
        return u, s, vt
    except torch.linalg.LinAlgError:
        # LAPACK's divide and conquer (gesdd) fails on a few of these graded matrices, and then not on the transposed.
        u, s, vt = torch.linalg.svd(matrices.mT, driver=driver)
        return vt.mT, s, u.mT


class TruncatedSvd(torch.autograd.Function):  # type: ignore[misc]  # torch is Any to the type checker
    """M (n, m, m) to A = U√S and B = V√S of the k largest singular values, (n, m, k) each, and those values (n, k).

    Backward keeps all of U, s and V: what is dropped mixes into what is kept. ``reference.split_vjp`` derives the rule.
    It holds for losses that do not change under A → AO, B → BO with O orthogonal, as on the two ends of an inner leg.
    The singular values come for inspection and cannot be differentiated.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, matrices: Tensor, keep: int) -> tuple[Tensor, Tensor, Tensor]:
        u, s, vt = svd(matrices)
        kept = s[:, :keep]
        root = kept.sqrt().unsqueeze(1)
        ctx.save_for_backward(u, s, vt)
        ctx.mark_non_differentiable(kept)
        return u[..., :keep] * root, vt[:, :keep].mT * root, kept

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, a_bar: Tensor, b_bar: Tensor, _: Tensor) -> tuple[Tensor, None]:
        u, s, vt = ctx.saved_tensors
        k = a_bar.shape[-1]
        kept = s[:, None, :k]
        root = kept.sqrt()
        x, y = u.mT @ a_bar, vt @ b_bar
        together = (x[:, :k] + y[:, :k]) / (2 * (root + root.mT))
        apart = (x[:, :k] - y[:, :k]) * root / (2 * (kept + kept.mT))
        inner = together + together.mT + apart - apart.mT

        dropped = s[:, k:, None]
        d = kept - dropped
        f, g = d / (d * d + ETA), 1 / (kept + dropped)
        x, y = x[:, k:] * root, y[:, k:] * root
        below, right = ((f + g) * x + (f - g) * y) / 2, ((f - g) * x + (f + g) * y) / 2
        uk, vtk = u[..., :k], vt[:, :k]
        return (uk @ inner + u[..., k:] @ below) @ vtk + uk @ (right.mT @ vt[:, k:]), None


def split(matrices: Tensor, keep: int) -> tuple[Tensor, Tensor, Tensor]:
    a, b, s = TruncatedSvd.apply(matrices, keep)
    return a, b, s


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
        theta: Tensor, data: Data, split: Split = split, contract: Contract = torch.einsum
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

    @torch.no_grad()
    def value(theta: Tensor, data: Data) -> Tensor:
        return evaluate(theta, data)[0]

    def reverse(theta: Tensor, data: Data) -> tuple[Tensor, Tensor, Tensor]:
        leaf = theta.detach().requires_grad_()
        loss, spectrum = evaluate(leaf, data)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return loss.detach(), gradient, spectrum

    def gradient(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        return reverse(theta, data)[:2]

    def outputs(theta: Tensor, data: Data) -> Data:
        loss, slope, spectrum = reverse(theta, data)
        return {
            "free_energy": -loss,
            "energy": -slope.sum(),
            "correlations": slope * config.sites_per_bond,
            "spectrum": spectrum / spectrum[0],
        }

    @torch.no_grad()
    def work(theta: Tensor, data: Data) -> dict[str, int]:
        tally = lattice.Tally()
        evaluate(theta, data, tally.splitting(split), tally.contracting(torch.einsum))
        return tally.work(theta.numel())

    return Functions(value, gradient, outputs, work, made_with="eager")
