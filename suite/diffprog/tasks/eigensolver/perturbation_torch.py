"""Eigenpairs in PyTorch as Taylor polynomials of the second degree in δH about H itself: perturbation theory.

δH is zero, and its derivatives are not: what is made here can be differentiated up to twice, in any mode. No
differences are formed but those from the levels that are asked for: degenerate levels elsewhere are harmless.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffprog.tasks.eigensolver import krylov_torch
from diffprog.tasks.eigensolver.hamiltonian_torch import operator, shifted
from diffprog.tasks.eigensolver.krylov_torch import Apply


def state(change: Apply, vector: Tensor, resolvent: Apply) -> Tensor:
    """The lowest eigenvector (N,) about ``vector``, with ``change`` x ↦ δH x, ``resolvent`` (H − E₀)⁻¹(1 − v₀v₀ᵀ).

    (H − E₀) x = −(1 − v₀v₀ᵀ) (δH − <v₀|δH|v₀>) (v₀ + x) to second order, solved twice, x = 0 on the right at first.
    """
    across = change(vector)
    first = -resolvent(across)
    second = -resolvent(across + change(first) - (vector @ across) * first)
    return vector * (1 - first @ first / 2) + second


def levels(change: Tensor, energies: Tensor, vectors: Tensor, count: int) -> Tensor:
    """The ``count`` lowest energies about ``energies`` (N,) of eigenvectors ``vectors`` (N, N), δH being (N, N)."""
    elements = vectors.T @ (change @ vectors[:, :count])
    itself = torch.eye(len(energies), count, dtype=torch.bool, device=energies.device)
    inverse = torch.where(itself, 0, 1 / (energies[:count] - energies[:, None]))
    return energies[:count] + elements.diagonal() + (elements.square() * inverse).sum(dim=0)


def dense_state(change: Tensor, energies: Tensor, vectors: Tensor) -> Tensor:
    """``state`` from δH (N, N) and all eigenpairs of H."""
    excited, gaps = vectors[:, 1:], energies[1:] - energies[0]
    return state(lambda x: change @ x, vectors[:, 0], lambda b: excited @ ((excited.T @ b) / gaps))


def dominant_state(theta: Tensor, start: Tensor) -> Tensor:
    """``state`` from θ (2L,) and where a Krylov space starts, (N,)."""
    point = theta.detach()
    energy, vector = lowest(point, start)
    change = operator(theta - point)  # H is linear in θ
    return state(change, vector, lambda b: resolvent(b, point, energy, vector))


# Lanczos and conjugate gradients decide as they go when to stop, which no compiler can follow: one operation to each.


@torch.library.custom_op("diffprog::lowest", mutates_args=())
def lowest(theta: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """E₀ () and v₀ (N,), not differentiable."""
    found = krylov_torch.lowest(operator(theta), start, theta.abs().sum())
    return found.energy.clone(), found.vector


@lowest.register_fake
def _(theta: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    return start.new_empty(()), torch.empty_like(start)


@torch.library.custom_op("diffprog::resolvent", mutates_args=())
def solved(b: Tensor, theta: Tensor, energy: Tensor, vector: Tensor) -> Tensor:
    """(H − E₀)⁻¹(1 − v₀v₀ᵀ) b, not differentiable."""
    return krylov_torch.solve(shifted(operator(theta), energy, vector), b - (vector @ b) * vector, theta.abs().sum())


@solved.register_fake
def _(b: Tensor, theta: Tensor, energy: Tensor, vector: Tensor) -> Tensor:
    return torch.empty_like(b)


class Resolvent(torch.autograd.Function):  # type: ignore[misc]  # mypy takes torch for Any
    """``solved`` as a function of b (N,): linear and symmetric, and so its own derivative in either mode."""

    @staticmethod
    def forward(b: Tensor, theta: Tensor, energy: Tensor, vector: Tensor) -> Tensor:
        return solved(b, theta, energy, vector)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None, None]:
        return Resolvent.apply(cotangent, *ctx.saved_tensors), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return Resolvent.apply(tangent, *ctx.saved_tensors)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], b: Tensor, *fixed: Tensor) -> tuple[Tensor, int]:
        return torch.stack([Resolvent.apply(row, *fixed) for row in b.unbind(in_dims[0])]), 0


@torch.compiler.allow_in_graph
def resolvent(b: Tensor, theta: Tensor, energy: Tensor, vector: Tensor) -> Tensor:
    """The same, for a compiler: it would look into the class, and refuse its rule for tangents."""
    found: Tensor = Resolvent.apply(b, theta, energy, vector)
    return found
