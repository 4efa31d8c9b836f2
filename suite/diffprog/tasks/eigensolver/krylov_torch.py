"""The Krylov methods of ``krylov`` in PyTorch: the host looks once a restart, or once an iteration."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffprog.tasks.eigensolver import krylov

Apply = Callable[[Tensor], Tensor]


def lowest(apply: Apply, start: Tensor, scale: Tensor) -> krylov.Lowest:
    """See ``krylov.lowest``; a basis vector beyond an invariant subspace is zero, and its Ritz value out of the way."""
    eps = torch.finfo(start.dtype).eps
    size, kept = krylov.basis_size(len(start))
    basis = start.new_zeros(size + 1, len(start))
    basis[0] = start / torch.linalg.vector_norm(start)
    rows, floor = basis.unbind(), eps * scale
    projected, known, applications = start.new_zeros(size, size), 0, 0
    for _ in range(krylov.RESTARTS):
        betas = []
        for j in range(known, size):
            w, seen = apply(rows[j]), basis[: j + 1]
            first = seen @ w
            w = torch.addmv(w, seen.T, first, alpha=-1)
            second = seen @ w
            w = torch.addmv(w, seen.T, second, alpha=-1)
            torch.add(first, second, out=projected[: j + 1, j])
            beta = torch.linalg.vector_norm(w)
            beta = torch.where(beta <= floor, torch.inf, beta)  # an exhausted space goes on with zeros
            torch.div(w, beta, out=rows[j + 1])
            betas.append(beta)
        exhausted = torch.stack(betas).isinf()
        beta = torch.where(exhausted[-1], 0, beta)
        projected.diagonal()[known + 1 :] += torch.where(exhausted[:-1], 2 * scale, 0)
        applications += size - known
        values, vectors = torch.linalg.eigh(projected, UPLO="U")
        basis[:kept], basis[kept] = vectors[:, :kept].T @ basis[:size], basis[size].clone()
        if abs(beta * vectors[-1, 0]) <= krylov.ACCURACY * eps * scale:
            return krylov.Lowest(values[0], basis[0] / torch.linalg.vector_norm(basis[0]), applications)
        projected = torch.diag(torch.nn.functional.pad(values[:kept], (0, size - kept)))
        known = kept
    return krylov.Lowest(values[0] * torch.nan, start * torch.nan, applications)


def levels(apply: Apply, start: Tensor, scale: Tensor, count: int) -> krylov.Levels:
    """See ``krylov.levels``."""
    energies, vectors, applications = [], start.new_empty(0, len(start)), 0

    def deflated(v: Tensor) -> Tensor:
        return apply(v) + 3 * scale * ((vectors @ v) @ vectors)

    for k in range(count):
        found = lowest(deflated, start.roll(k), 4 * scale)
        energies.append(found.energy)
        vectors = torch.cat([vectors, found.vector[None]])
        applications += found.applications
    return krylov.Levels(torch.stack(energies), vectors, applications)


def solve(apply: Apply, b: Tensor, scale: Tensor) -> Tensor:
    """See ``krylov.solve``."""
    eps = torch.finfo(b.dtype).eps
    x, r, p = torch.zeros_like(b), b, b
    rho = b @ b
    goal = (4 * eps) ** 2 * rho
    for _ in range(krylov.ITERATIONS):
        if not rho > goal:
            break
        q = apply(p)
        alpha = rho / (p @ q)
        x, r = torch.addcmul(x, alpha, p), torch.addcmul(r, alpha, q, value=-1)
        rho, previous = r @ r, rho
        p = torch.addcmul(r, rho / previous, p)
    norm = torch.linalg.vector_norm
    error = torch.maximum(norm(b - apply(x)), eps * scale * norm(x))
    return torch.where(error <= eps**0.5 * norm(b), x, torch.nan)
