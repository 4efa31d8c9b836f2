"""The eigensolver in JAX: ``eigh`` or Lanczos under jit, with one derivative rule for the lowest levels of either.

JAX's own rule for ``eigh`` divides by the differences among all levels, and so by zero where excited levels coincide
that the loss does not even see. The rule here holds at every order and in either mode.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from diffprog.spec import Functions
from diffprog.tasks.eigensolver import hamiltonian, krylov, krylov_jax
from diffprog.tasks.eigensolver.problem import EigensolverConfig, check_method

Data = dict[str, Array]
SWITCHES = {"cpu": {"eigh": "LAPACK syevd"}, "cuda": {"eigh": "JAX's choice for the size: syevd or syevj"}}


def matrix(J: Array, h: Array) -> Array:
    """H as a dense matrix (2ᴸ, 2ᴸ) from J and h (L,); J of shape (L−1,) makes an open chain."""
    sites, size = len(h), 2 ** len(h)
    state, flips = jnp.arange(size, dtype=jnp.int32), jnp.asarray(hamiltonian.flips(sites), jnp.int32)
    diagonal = jnp.asarray(hamiltonian.bonds(sites)[:, : len(J)], J.dtype) @ J
    H = jnp.zeros((size, size), h.dtype).at[state, state].set(-diagonal, unique_indices=True)
    return H.at[state[:, None], flips].set(-h, unique_indices=True)


class Halves(NamedTuple):
    """H without its matrix; see ``hamiltonian.Operator``."""

    low: Array
    high: Array
    edge: Array


def halves(theta: Array) -> Halves:
    J, h = jnp.split(theta, 2)
    cut, above = hamiltonian.halves(len(h))
    low, high = (jnp.asarray(hamiltonian.spins(half), theta.dtype) for half in (cut, above))
    edge = J[cut - 1] * jnp.outer(high[:, 0], low[:, -1]) + J[-1] * jnp.outer(high[:, -1], low[:, 0])
    return Halves(matrix(J[: cut - 1], h[:cut]), matrix(J[cut:-1], h[cut:]), -edge)


def apply_halves(H: Halves, v: Array) -> Array:
    V = v.reshape(H.edge.shape)
    return (H.high @ V + V @ H.low + H.edge * V).ravel()


class Method(NamedTuple):
    """How H (an array or several, linear in θ) is made and applied, its lowest levels found, and a system solved."""

    hamiltonian: Callable[[Array], Any]
    apply: Callable[[Any, Array], Array]
    levels: Callable[[Any, Array, Array, int], tuple[krylov.Levels, Any]]
    """H, start, scale and a number of levels to these, and what ``solve`` is to be told."""
    solve: Callable[[Any, int, Any, Array], Array]
    """(told, k, shifted, b) to the solution of shifted x = b; see ``lowest_jvp``."""


def dense_levels(H: Array, start: Array, scale: Array, count: int) -> tuple[krylov.Levels, tuple[Array, ...]]:
    energies, vectors = jnp.linalg.eigh(H, symmetrize_input=False)
    return krylov.Levels(energies[:count], vectors[:, :count].T, 0), (energies, vectors, scale)


def dense_solve(told: tuple[Array, ...], k: int, shifted: Any, b: Array) -> Array:
    energies, vectors, scale = told
    differences = (energies - energies[k]).at[k].set(scale)
    return vectors @ ((b @ vectors) / differences)


def dominant_levels(H: Halves, start: Array, scale: Array, count: int) -> tuple[krylov.Levels, tuple[Array, ...]]:
    """Energies are Rayleigh quotients."""
    apply = partial(apply_halves, H)
    if count == 1:
        ground = krylov_jax.lowest(apply, start, scale)
        found = krylov.Levels(ground.energy[None], ground.vector[None], ground.applications)
    else:
        found = krylov_jax.levels(apply, start, scale, count)
    energies = jax.vmap(lambda v: v @ apply(v))(found.vectors)
    return found._replace(energies=energies), (energies, found.vectors, scale)


def dominant_solve(told: tuple[Array, ...], k: int, shifted: Any, b: Array) -> Array:
    """In the levels found by their energies; above them, where all is positive, by conjugate gradients."""
    energies, vectors, scale = told
    if len(vectors) == 1:  # v₀ itself is lifted above the others, and harmless
        return krylov_jax.solve(shifted, b, scale)

    def above(x: Array) -> Array:
        return x - (vectors @ x) @ vectors

    differences = (energies - energies[k]).at[k].set(scale)
    within = ((vectors @ b) / differences) @ vectors
    return within + krylov_jax.solve(lambda x: above(shifted(above(x))) + scale * (x - above(x)), above(b), scale)


dense = Method(lambda theta: matrix(*jnp.split(theta, 2)), jnp.matmul, dense_levels, dense_solve)
dominant = Method(halves, apply_halves, dominant_levels, dominant_solve)
METHODS = {"dense": dense, "dominant": dominant}


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def lowest(method: Method, count: int, wanted: int, H: Any, start: Array, scale: Array) -> tuple[Array, Array, Any]:
    """Energies (count,) and vectors (count, N) of the lowest levels, and what the solver is told.

    Of ``wanted`` levels, where these are more, the others tell whether the highest is degenerate: all is NaN then. As
    far as derivatives go, energies and vectors alone depend on H.
    """
    found, told = method.levels(H, start, scale, wanted)
    definite = unless_degenerate(found.energies, scale) if wanted > count else 1
    return found.energies[:count] * definite, found.vectors[:count] * definite, told


@lowest.defjvp
def lowest_jvp(
    method: Method, count: int, wanted: int, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Any, Any]:
    """With dE = vᵀdH v, (H − E) dv = −(1 − vvᵀ) dH v and dv ⊥ v, for JAX to transpose and to differentiate again."""
    H, _, scale = primals
    energies, vectors, told = lowest(method, count, wanted, *primals)

    def change(k: int, energy: Array, v: Array) -> tuple[Array, Array]:
        def shifted(x: Array) -> Array:
            """H − E, and ``scale`` for v itself: symmetric, and regular where the level is not degenerate."""
            along = (v @ x) * v
            Hx = method.apply(H, x - along)
            return Hx - (v @ Hx) * v - energy * (x - along) + scale * along

        b = method.apply(tangents[0], v)
        along = v @ b
        solve = partial(method.solve, told, k)
        return along, jax.lax.custom_linear_solve(shifted, along * v - b, solve, symmetric=True)

    d_energies, d_vectors = zip(*(change(k, energies[k], vectors[k]) for k in range(count)), strict=True)
    nothing = jax.tree.map(jnp.zeros_like, told)
    return (energies, vectors, told), (jnp.stack(d_energies), jnp.stack(d_vectors), nothing)


def unless_degenerate(energies: Array, scale: Array) -> Array:
    """1, or NaN where two levels coincide to rounding: what is made of one of them has no derivative there."""
    resolution = krylov.RESOLUTION * jnp.finfo(energies.dtype).eps * scale
    definite = jax.lax.stop_gradient(jnp.diff(energies).min() > resolution)
    return jnp.where(definite, 1, jnp.nan).astype(energies.dtype)


def build(config: EigensolverConfig, method: str) -> Functions:
    """The task's functions on JAX arrays, all of them traceable in (theta, data)."""
    check_method(config, method)
    how, m = METHODS[method], config.levels
    # As in ``reference``: Krylov methods would have to pay for the level above, and conjugate gradients need it not.
    wanted = 1 if (config.variant, method) == ("ground_state", "dominant") else m + 1

    def bound(theta: Array) -> Array:
        return jnp.abs(jax.lax.stop_gradient(theta)).sum()

    def value(theta: Array, data: Data) -> Array:
        energies, vectors, _ = lowest(how, m, wanted, how.hamiltonian(theta), data["start"], bound(theta))
        if config.variant == "ground_state":
            return 1 - jnp.abs(vectors[0] @ data["target"])
        return jnp.square(energies - data["target"]).sum()

    def outputs(theta: Array, data: Data) -> Data:
        """See ``reference.build``."""
        found, _ = how.levels(how.hamiltonian(theta), data["start"], bound(theta), m + 1)
        named = {"energies": found.energies, "gap": jnp.diff(found.energies).min()}
        if config.variant == "ground_state":
            overlap = found.vectors[0] @ data["target"]
            named |= {"state": found.vectors[0] * jnp.sign(overlap), "overlap": jnp.abs(overlap)}
        return named | ({"applications": found.applications} if method == "dominant" else {})

    def work(theta: Array, data: Data) -> dict[str, int]:
        """See ``reference.build``."""
        up = jnp.zeros_like(data["start"]).at[0].set(1)
        units = jnp.repeat(jnp.eye(2, dtype=theta.dtype), config.sites, axis=1)
        columns = [how.apply(how.hamiltonian(unit), up) for unit in units]
        bonds, fields = (-int(column.sum()) for column in columns)
        return {"parameters": theta.size, "matrix_size": len(columns[0]), "bonds": bonds, "fields": fields}

    return Functions(value, jax.value_and_grad(value), outputs, work, "jit", value, switches=SWITCHES)
