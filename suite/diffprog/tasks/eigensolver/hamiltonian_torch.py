"""The chain of ``hamiltonian`` in PyTorch: as a matrix, and as an operator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffprog.tasks.eigensolver import hamiltonian

TABLES: dict[tuple[int, torch.device, torch.dtype], tuple[Tensor, Tensor, Tensor]] = {}


def tables(sites: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Z_i Z_{i+1} (2ᵏ, k), Z_i (2ᵏ, k), and which columns (2ᵏ, k+1) each row of H has: diagonal, then flips.

    Kept in a dictionary, which a compiler looks up; it would not know what ``functools.cache`` has.
    """
    key = sites, device, dtype
    if key not in TABLES:
        TABLES[key] = make_tables(*key)
    return TABLES[key]


def make_tables(sites: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
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


def shifted(apply: Any, energy: Tensor, v0: Tensor) -> Any:
    """H − E₀ on what is orthogonal to v₀, from H on vectors; −E₀ v₀v₀ᵀ, positive, makes it definite."""
    return lambda x: torch.addcmul(apply(x), energy, torch.addcmul(x, v0 @ x, v0), value=-1)
