"""The eigensolver in PyTorch, eager: autograd around an eigendecomposition, or around Lanczos and conjugate gradients.

PyTorch's own rule for ``torch.linalg.eigh`` divides by the differences among all levels, and so by zero where excited
levels coincide that the loss does not even see. ``spectrum`` needs no differences and uses it; ground states have rules
of their own here, which know differences from E₀ only.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from suite.spec import Functions
from suite.tasks.eigensolver import hamiltonian, krylov, krylov_torch
from suite.tasks.eigensolver.spec import EigensolverConfig, check_method

Data = dict[str, Tensor]


@cache
def tables(sites: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Z_i Z_{i+1} (2ᵏ, k), Z_i (2ᵏ, k), and which columns (2ᵏ, k+1) each row of H has: diagonal, then flips."""
    bonds, spins, flips = (torch.as_tensor(f(sites)) for f in (hamiltonian.bonds, hamiltonian.spins, hamiltonian.flips))
    columns = torch.cat([torch.arange(2**sites)[:, None], flips], dim=1)
    return bonds.to(device, dtype), spins.to(device, dtype), columns.to(device)


def matrix(J: Tensor, h: Tensor) -> Tensor:
    """H as a dense matrix (2ᴸ, 2ᴸ) from J and h (L,); J of shape (L−1,) makes an open chain."""
    bonds, _, columns = tables(len(h), h.device, h.dtype)
    size = len(columns)
    elements = torch.cat([bonds[:, : len(J)] @ J[:, None], h.expand(size, -1)], dim=1)
    return h.new_zeros(size, size).scatter(1, columns, -elements)


def operator(theta: Tensor) -> Any:
    """H as a function of vectors (..., 2ᴸ), without its matrix; see ``hamiltonian.Operator``."""
    J, h = theta.chunk(2)
    cut, above = hamiltonian.halves(len(h))
    low, high = matrix(J[: cut - 1], h[:cut]), matrix(J[cut:-1], h[cut:])
    low_spins, high_spins = (tables(half, theta.device, theta.dtype)[1] for half in (cut, above))
    first, last = torch.outer(high_spins[:, 0], low_spins[:, -1]), torch.outer(high_spins[:, -1], low_spins[:, 0])
    edge = -(J[cut - 1] * first + J[-1] * last)

    def apply(v: Tensor) -> Tensor:
        V = v.view(*v.shape[:-1], *edge.shape)
        return torch.addcmul(high @ V + V @ low, edge, V).flatten(-2)

    return apply


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

        def shifted(x: Tensor) -> Tensor:  # −E₀ v₀v₀ᵀ, positive, makes the system definite
            return torch.addcmul(apply(x), energy, torch.addcmul(x, v0 @ x, v0), value=-1)

        with torch.no_grad():
            solution = krylov_torch.solve(shifted, v0_bar - (v0 @ v0_bar) * v0, theta.abs().sum())
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

    def loss(theta: Tensor, data: Data) -> Tensor:
        if config.variant == "ground_state":
            return 1 - (ground_state(theta, data) @ data["target"]).abs()
        energies = levels(theta, data, m + 1).energies
        return (energies[:m] - data["target"]).square().sum() * unless_degenerate(energies, theta)

    def gradient(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        leaf = theta.detach().requires_grad_()
        found = loss(leaf, data)
        (theta_bar,) = torch.autograd.grad(found, leaf)
        return found.detach(), theta_bar

    @torch.no_grad()
    def value(theta: Tensor, data: Data) -> Tensor:
        return loss(theta, data)

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

    return Functions(value, gradient, outputs, work, made_with="eager")
