"""The eigensolver in JAX: ``eigh`` or Lanczos under jit, with one derivative rule for the ground state of either.

JAX's own rule for ``eigh`` divides by the differences among all levels, and so by zero where excited levels coincide
that the loss does not even see. ``spectrum`` needs no differences and uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from suite.spec import Functions
from suite.tasks.eigensolver import hamiltonian, krylov, krylov_jax
from suite.tasks.eigensolver.spec import EigensolverConfig, check_method

Data = dict[str, Array]


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
    """How H (an array or several, linear in θ) is made and applied, and its lowest levels found."""

    hamiltonian: Callable[[Array], Any]
    apply: Callable[[Any, Array], Array]
    levels: Callable[[Array, Data, int], krylov.Levels]
    ground_state: Callable[[Any, Array, Array], tuple[Array, Any]]
    """H, start and scale to v₀ and what ``solve`` is to be told."""
    solve: Callable[[Any, Any, Array], Array]
    """(told, shifted, b) to (H − E₀)⁻¹ b, b ⊥ v₀; ``shifted`` applies H − E₀."""


def dense_levels(theta: Array, data: Data, count: int) -> krylov.Levels:
    energies, vectors = jnp.linalg.eigh(dense.hamiltonian(theta), symmetrize_input=False)
    return krylov.Levels(energies[:count], vectors[:, :count].T, 0)


def dense_ground_state(H: Array, start: Array, scale: Array) -> tuple[Array, tuple[Array, Array]]:
    energies, vectors = jnp.linalg.eigh(H, symmetrize_input=False)
    return vectors[:, 0] * unless_degenerate(energies[:2], scale), (energies, vectors)


def dense_solve(told: tuple[Array, Array], shifted: Any, b: Array) -> Array:
    energies, vectors = told
    above = (energies - energies[0]).at[0].set(-energies[0])  # see ``shifted`` below
    return vectors @ ((b @ vectors) / above)


def dominant_levels(theta: Array, data: Data, count: int) -> krylov.Levels:
    """The lowest levels; energies are Rayleigh quotients of fixed vectors: dE = <v|dH|v> (Hellmann, Feynman)."""
    H, fixed = halves(theta), jax.lax.stop_gradient(theta)
    found = krylov_jax.levels(partial(apply_halves, halves(fixed)), data["start"], jnp.abs(fixed).sum(), count)
    return found._replace(energies=jax.vmap(lambda v: v @ apply_halves(H, v))(found.vectors))


def dominant_ground_state(H: Halves, start: Array, scale: Array) -> tuple[Array, Array]:
    return krylov_jax.lowest(partial(apply_halves, H), start, scale).vector, scale


def dominant_solve(told: Array, shifted: Any, b: Array) -> Array:
    return krylov_jax.solve(shifted, b, told)


dense = Method(lambda theta: matrix(*jnp.split(theta, 2)), jnp.matmul, dense_levels, dense_ground_state, dense_solve)
dominant = Method(halves, apply_halves, dominant_levels, dominant_ground_state, dominant_solve)
METHODS = {"dense": dense, "dominant": dominant}


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def ground_state(method: Method, H: Any, start: Array, scale: Array) -> tuple[Array, Any]:
    """v₀ (N,), and what the solver is told; only v₀ depends on H as far as derivatives go."""
    return method.ground_state(H, start, scale)


@ground_state.defjvp
def ground_state_jvp(method: Method, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    """(H − E₀) dv₀ = −(1 − v₀v₀ᵀ) dH v₀, dv₀ ⊥ v₀: JAX transposes it, and may differentiate it again."""
    H, dH = primals[0], tangents[0]
    v0, told = ground_state(method, *primals)
    energy = v0 @ method.apply(H, v0)

    def project(x: Array) -> Array:
        return x - (v0 @ x) * v0

    def shifted(x: Array) -> Array:  # −E₀ v₀v₀ᵀ, positive, makes the system definite
        return project(method.apply(H, project(x))) - energy * x

    b = project(method.apply(dH, v0))
    dv0 = -jax.lax.custom_linear_solve(shifted, b, partial(method.solve, told), symmetric=True)
    return (v0, told), (dv0, jax.tree.map(jnp.zeros_like, told))


def unless_degenerate(energies: Array, scale: Array) -> Array:
    """1, or NaN where two levels coincide to rounding: what is made of one of them has no derivative there."""
    resolution = krylov.RESOLUTION * jnp.finfo(energies.dtype).eps * scale
    definite = jax.lax.stop_gradient(jnp.diff(energies).min() > resolution)
    return jnp.where(definite, 1, jnp.nan).astype(energies.dtype)


def build(config: EigensolverConfig, method: str) -> Functions:
    """The task's functions on JAX arrays, all of them traceable in (theta, data)."""
    check_method(config, method)
    how, m = METHODS[method], config.levels

    def bound(theta: Array) -> Array:
        return jnp.abs(jax.lax.stop_gradient(theta)).sum()

    def value(theta: Array, data: Data) -> Array:
        if config.variant == "ground_state":
            v0, _ = ground_state(how, how.hamiltonian(theta), data["start"], bound(theta))
            return 1 - jnp.abs(v0 @ data["target"])
        energies = how.levels(theta, data, m + 1).energies
        return jnp.square(energies[:m] - data["target"]).sum() * unless_degenerate(energies, bound(theta))

    def outputs(theta: Array, data: Data) -> Data:
        """See ``reference.build``."""
        found = how.levels(theta, data, m + 1)
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

    return Functions(value, jax.value_and_grad(value), outputs, work, made_with="jit")
