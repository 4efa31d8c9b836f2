"""The Krylov methods of ``krylov`` in JAX: loops that stop by themselves, on arrays whose shapes are fixed."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from diffprog.tasks.eigensolver import krylov

Apply = Callable[[Array], Array]


def lowest(apply: Apply, start: Array, scale: Array) -> krylov.Lowest:
    """See ``krylov.lowest``; a basis vector beyond an invariant subspace is zero, and its Ritz value out of the way."""
    eps = jnp.finfo(start.dtype).eps
    size, kept = krylov.basis_size(len(start))
    rows = jnp.arange(size)

    def expand(j: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        basis, projected, _ = state
        w = apply(basis[j])
        for _ in range(2):  # the basis is zero beyond j
            coefficients = basis[:size] @ w
            w = w - coefficients @ basis[:size]
            projected = projected.at[:, j].add(coefficients)
        beta = jnp.linalg.norm(w)
        exhausted = beta <= eps * scale
        basis = basis.at[j + 1].set(jnp.where(exhausted, 0, w / beta))
        projected = jnp.where(exhausted & (rows > j), jnp.diag(2 * scale * (rows > j)), projected)
        return basis, projected, jnp.where(exhausted, 0, beta)

    def cycle(state: tuple[Array, ...]) -> tuple[Array, ...]:
        basis, projected, known, restarts, applications, *_ = state
        basis, projected, beta = jax.lax.fori_loop(known, size, expand, (basis, projected, scale))
        values, vectors = jnp.linalg.eigh(projected, UPLO="U", symmetrize_input=False)
        ritz = vectors[:, :kept].T @ basis[:size]
        basis = jnp.zeros_like(basis).at[:kept].set(ritz).at[kept].set(basis[size])
        projected = jnp.diag(jnp.where(rows < kept, values, 0))
        residual = jnp.abs(beta * vectors[-1, 0])
        return basis, projected, jnp.int32(kept), restarts + 1, applications + size - known, values[0], residual

    def unfinished(state: tuple[Array, ...]) -> Array:
        return (state[3] < krylov.RESTARTS) & ~(state[-1] <= goal)

    goal = krylov.ACCURACY * eps * scale
    none, zero = jnp.zeros((size, size), start.dtype), jnp.int32(0)
    basis = jnp.zeros((size + 1, len(start)), start.dtype).at[0].set(start / jnp.linalg.norm(start))
    first = basis, none, zero, zero, zero, scale, jnp.full_like(scale, jnp.inf)
    basis, _, _, _, applications, energy, residual = jax.lax.while_loop(unfinished, cycle, first)
    definite = jnp.where(residual <= goal, 1, jnp.nan).astype(start.dtype)
    return krylov.Lowest(energy * definite, definite * basis[0] / jnp.linalg.norm(basis[0]), applications)


def levels(apply: Apply, start: Array, scale: Array, count: int) -> krylov.Levels:
    """See ``krylov.levels``."""

    def step(vectors: Array, k: Array) -> tuple[Array, tuple[Array, Array]]:
        def deflated(v: Array) -> Array:
            return apply(v) + 3 * scale * ((vectors @ v) @ vectors)

        found = lowest(deflated, jnp.roll(start, k), 4 * scale)
        return vectors.at[k].set(found.vector), (found.energy, found.applications)

    nothing = jnp.zeros((count, len(start)), start.dtype)
    vectors, (energies, applications) = jax.lax.scan(step, nothing, jnp.arange(count))
    return krylov.Levels(energies, vectors, applications.sum())


def solve(apply: Apply, b: Array, scale: Array) -> Array:
    """See ``krylov.solve``."""
    eps = float(jnp.finfo(b.dtype).eps)
    x, _ = jax.scipy.sparse.linalg.cg(apply, b, tol=4 * eps, maxiter=krylov.ITERATIONS)
    norm = jnp.linalg.norm
    error = jnp.maximum(norm(b - apply(x)), eps * scale * norm(x))
    return jnp.where(error <= eps**0.5 * norm(b), x, jnp.nan)
