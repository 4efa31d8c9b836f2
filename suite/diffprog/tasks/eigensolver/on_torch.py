"""The eigensolver in PyTorch, eager: autograd around an eigendecomposition, or around Lanczos and conjugate gradients.

PyTorch's own rule for ``torch.linalg.eigh`` divides by the differences among all levels, and so by zero where excited
levels coincide that the loss does not even see. ``spectrum`` needs no differences and uses it; ground states have rules
of their own here, which know differences from E₀ only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffprog.spec import Functions
from diffprog.tasks.eigensolver import krylov, krylov_torch
from diffprog.tasks.eigensolver.hamiltonian_torch import matrix, operator, shifted
from diffprog.tasks.eigensolver.problem import EigensolverConfig, check_method
from diffprog.tasks.torch_autograd import reverse

Data = dict[str, Tensor]
# PyTorch has no choice of driver for ``eigh``.
SWITCHES = {"cpu": {"eigh": "LAPACK syevd"}, "cuda": {"eigh": "PyTorch's choice for the size: syevd or syevj"}}


class DenseGroundState(torch.autograd.Function):  # type: ignore[misc]  # mypy takes torch for Any
    """H (N, N) to its lowest eigenvector v₀ (N,) and all energies (N,), of which no derivative is passed on."""

    @staticmethod
    def forward(ctx: Any, H: Tensor) -> tuple[Tensor, Tensor]:
        energies, vectors = torch.linalg.eigh(H)
        ctx.save_for_backward(energies, vectors)
        ctx.mark_non_differentiable(energies)
        return vectors[:, 0].clone(), energies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v0_bar: Tensor, _: Any) -> Tensor:
        energies, vectors = ctx.saved_tensors
        v0, excited = vectors[:, 0], vectors[:, 1:]
        solution = excited @ ((excited.T @ v0_bar) / (energies[1:] - energies[0]))
        return -torch.outer(solution, v0)  # to be symmetrised, but H is built symmetric


class DominantGroundState(torch.autograd.Function):  # type: ignore[misc]
    """θ (2L,) and a start (N,) to the lowest eigenvector v₀ (N,). Backward solves (H − E₀) λ = (1 − v₀v₀ᵀ) v̄₀."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, start: Tensor) -> Tensor:
        found = krylov_torch.lowest(operator(theta), start, theta.abs().sum())
        ctx.save_for_backward(theta, found.energy, found.vector)
        return found.vector

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v0_bar: Tensor) -> tuple[Tensor, None]:
        theta, energy, v0 = ctx.saved_tensors
        with torch.enable_grad():
            theta = theta.detach().requires_grad_()
            apply = operator(theta)
            applied = apply(v0)

        with torch.no_grad():
            b = v0_bar - (v0 @ v0_bar) * v0
            solution = krylov_torch.solve(shifted(apply, energy, v0), b, theta.abs().sum())
        (theta_bar,) = torch.autograd.grad(applied, theta, -solution)
        return theta_bar, None


def dominant_levels(theta: Tensor, data: Data, count: int) -> krylov.Levels:
    """The lowest levels; energies are Rayleigh quotients of fixed vectors: dE = <v|dH|v> (Hellmann, Feynman)."""
    with torch.no_grad():
        found = krylov_torch.levels(operator(theta), data["start"], theta.abs().sum(), count)
    return found._replace(energies=(found.vectors * operator(theta)(found.vectors)).sum(dim=-1))


def dense_levels(theta: Tensor, data: Data, count: int) -> krylov.Levels:
    energies, vectors = torch.linalg.eigh(matrix(*theta.chunk(2)))
    return krylov.Levels(energies[:count], vectors[:, :count].T, 0)


def unless_degenerate(energies: Tensor, theta: Tensor) -> Tensor:
    """1, or NaN where two levels coincide to rounding: what is made of one of them has no derivative there."""
    resolution = krylov.RESOLUTION * torch.finfo(theta.dtype).eps * theta.detach().abs().sum()
    return torch.where(energies.detach().diff().min() > resolution, 1.0, torch.nan).to(theta.dtype)


def build(config: EigensolverConfig, method: str) -> Functions:
    """The task's functions on tensors of one device; ``theta`` (2L,) decides the precision."""
    check_method(config, method)
    m = config.levels
    levels = {"dense": dense_levels, "dominant": dominant_levels}[method]

    def ground_state(theta: Tensor, data: Data) -> Tensor:
        if method == "dominant":
            state: Tensor = DominantGroundState.apply(theta, data["start"])
            return state
        state, energies = DenseGroundState.apply(matrix(*theta.chunk(2)))
        return state * unless_degenerate(energies[:2], theta)

    def once(theta: Tensor, data: Data) -> Tensor:
        """The loss, to be differentiated once and in reverse: that takes less than ``loss``."""
        if config.variant == "ground_state":
            return 1 - (ground_state(theta, data) @ data["target"]).abs()
        energies = levels(theta, data, m + 1).energies
        return (energies[:m] - data["target"]).square().sum() * unless_degenerate(energies, theta)

    def loss(theta: Tensor, data: Data) -> Tensor:
        from diffprog.tasks.eigensolver import perturbation_torch  # imports the compiler, which the others do without

        if method == "dominant":
            state = perturbation_torch.dominant_state(theta, data["start"])
            return 1 - (state @ data["target"]).abs()
        H = matrix(*theta.chunk(2))
        energies, vectors = torch.linalg.eigh(H.detach())
        change = H - H.detach()
        definite = unless_degenerate(energies[: m + 1], theta)
        if config.variant == "ground_state":
            state = perturbation_torch.dense_state(change, energies, vectors)
            return 1 - (state @ data["target"]).abs() * definite
        found = perturbation_torch.levels(change, energies, vectors, m)
        return (found - data["target"]).square().sum() * definite

    @torch.no_grad()
    def value(theta: Tensor, data: Data) -> Tensor:
        return once(theta, data)

    @torch.no_grad()
    def outputs(theta: Tensor, data: Data) -> Data:
        """See ``reference.build``."""
        found = levels(theta, data, m + 1)
        named = {"energies": found.energies, "gap": found.energies.diff().min()}
        if config.variant == "ground_state":
            overlap = found.vectors[0] @ data["target"]
            named |= {"state": found.vectors[0] * overlap.sign(), "overlap": overlap.abs()}
        return named | ({"applications": torch.tensor(found.applications)} if method == "dominant" else {})

    @torch.no_grad()
    def work(theta: Tensor, data: Data) -> dict[str, int]:
        """See ``reference.build``."""
        up = torch.zeros_like(data["start"])
        up[0] = 1
        columns = []
        for unit in torch.eye(2, dtype=theta.dtype, device=theta.device).repeat_interleave(config.sites, dim=1):
            columns.append(matrix(*unit.chunk(2)) @ up if method == "dense" else operator(unit)(up))
        bonds, fields = (-int(column.sum()) for column in columns)
        return {"parameters": theta.numel(), "matrix_size": len(columns[0]), "bonds": bonds, "fields": fields}

    # Energies by Lanczos are those of ``dense``, and another rule for gradients; it takes definite systems to go on.
    differentiable = method == "dense" or config.variant == "ground_state"
    return Functions(value, reverse(once), outputs, work, "eager", loss if differentiable else None, switches=SWITCHES)
