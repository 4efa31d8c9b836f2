"""Krylov methods on an operator that is only applied, in NumPy: the lowest eigenpairs and a linear system.

Sources: Wu, Simon, SIAM J. Matrix Anal. Appl. 22 (2000) 602 (Lanczos with thick restart); Saad, *Numerical Methods for
Large Eigenvalue Problems*, 4.2 (deflation); Hestenes, Stiefel, J. Res. NBS 49 (1952) 409 (conjugate gradients).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from diffprog.spec import Array

Apply = Callable[[Array], Array]

BASIS = 16
"""Vectors in the Krylov basis, and the memory of the method: ARPACK's default is 20."""
KEPT = 6
"""Ritz vectors that a restart keeps: with these, as few products as without restarts, to within a tenth."""
RESTARTS = 500
ACCURACY = 0.5
"""An eigenpair is converged when the estimate of its residual falls below this many eps·‖H‖: near rounding."""
RESOLUTION = 8.0
"""Levels that are nearer to each other than this many eps·‖H‖ are one level to the arithmetic: degenerate."""
ITERATIONS = 10_000
"""Of conjugate gradients. Only a singular system needs so many."""


class Lowest(NamedTuple):
    """The lowest eigenpair: energy (), vector (N,) of norm 1, and how many times the operator was applied.

    Arrays are the backend's own, here and in ``Levels``.
    """

    energy: Any
    vector: Any
    applications: Any


class Levels(NamedTuple):
    """The lowest eigenpairs: energies (m,), vectors (m, N), and how many times the operator was applied."""

    energies: Any
    vectors: Any
    applications: Any


def basis_size(dimension: int) -> tuple[int, int]:
    """The size of the Krylov basis, and how much of it a restart keeps, in a space of ``dimension`` ≥ 2."""
    size = min(BASIS, dimension)
    return size, min(KEPT, size - 1)


def lowest(apply: Apply, start: Array, scale: Array) -> Lowest:
    """The lowest eigenpair by Lanczos with full reorthogonalisation and thick restarts; NaN if it does not converge.

    Args:
        apply: a symmetric operator on vectors (N,).
        start: where the Krylov space starts: (N,), not orthogonal to the eigenvector.
        scale: a bound on the operator's norm.
    """
    eps = np.finfo(start.dtype).eps
    size, kept = basis_size(len(start))
    basis = np.zeros((size + 1, len(start)), start.dtype)
    basis[0] = start / np.linalg.norm(start)
    projected, known, applications = np.zeros((size, size), start.dtype), 0, 0
    for _ in range(RESTARTS):
        for j in range(known, size):
            w = apply(basis[j])
            for _ in range(2):  # once is not enough: Giraud, Langou, Rozložník, Numer. Math. 101 (2005) 87
                coefficients = basis[: j + 1] @ w
                w = w - coefficients @ basis[: j + 1]
                projected[: j + 1, j] += coefficients
            beta = np.linalg.norm(w)
            if beta <= eps * scale:  # the Krylov space is exhausted: an invariant subspace
                beta = 0 * beta
                projected[range(j + 1, size), range(j + 1, size)] = 2 * scale  # above all eigenvalues: never wanted
                break
            basis[j + 1] = w / beta
        applications += j + 1 - known
        values, vectors = np.linalg.eigh(projected, UPLO="U")
        if abs(beta * vectors[-1, 0]) <= ACCURACY * eps * scale:
            vector = vectors[:, 0] @ basis[:size]
            return Lowest(values[0], vector / np.linalg.norm(vector), applications)
        known = kept
        basis[:known] = vectors[:, :known].T @ basis[:size]
        basis[known] = basis[size]
        projected = np.diag(np.where(np.arange(size) < known, values, 0)).astype(start.dtype)
    return Lowest(values[0] * np.nan, start * np.nan, applications)


def levels(apply: Apply, start: Array, scale: Array, count: int) -> Levels:
    """The ``count`` lowest eigenpairs, one after the other: those that are found are lifted above all others.

    A Krylov space holds one vector of a degenerate level, the one that the start has a share of: each level has a start
    of its own, ``start`` rolled on by one. What was found between −scale and scale is lifted by 3 scale, to where
    nothing else is.
    """
    energies, vectors, applications = [], np.empty((0, len(start)), start.dtype), 0

    def deflated(v: Array) -> Array:
        return np.asarray(apply(v) + 3 * scale * ((vectors @ v) @ vectors))

    for k in range(count):
        found = lowest(deflated, np.roll(start, k), 4 * scale)
        energies.append(found.energy)
        vectors = np.concatenate([vectors, found.vector[None]])
        applications += found.applications
    return Levels(np.array(energies), vectors, applications)


def solve(apply: Apply, b: Array, scale: Array) -> Array:
    """Solves A x = b by conjugate gradients, A symmetric and positive definite, ``scale`` a bound on its norm.

    The residual of the recursion goes down to rounding. NaN where the true one is not met to half the digits, or x so
    large that as much of A is lost in rounding: where A is singular.
    """
    eps = np.finfo(b.dtype).eps
    x, r, p = np.zeros_like(b), b, b
    rho = b @ b
    goal = (4 * eps) ** 2 * rho
    for _ in range(ITERATIONS):
        if not rho > goal:
            break
        q = apply(p)
        alpha = rho / (p @ q)
        x, r = x + alpha * p, r - alpha * q
        rho, previous = r @ r, rho
        p = r + rho / previous * p
    error = max(np.linalg.norm(b - apply(x)), eps * scale * np.linalg.norm(x))
    return x if error <= np.sqrt(eps) * np.linalg.norm(b) else x * np.nan
