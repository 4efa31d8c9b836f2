"""Circuits of layers on states in JAX: a scan over layers, and a second one backwards.

Shapes as in ``states``: states are (..., 2ⁿ), complex, leading axes a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from diffprog.circuits import tables

Matrices = list[Array]
"""One unitary (..., 2ᵏ, 2ᵏ) for each group of k qubits, the least significant group first."""
Rotate = Callable[[Matrices, Array], Array]
Entangle = Callable[[Array, Array], Array]


def unitaries(table: Array) -> Array:
    """Rz(c) Rx(b) Rz(a) of angles (..., 3) = (a, b, c): shape (..., 2, 2)."""
    a, b, c = jnp.moveaxis(table, -1, 0)
    stay, hop = jnp.cos(b / 2), -1j * jnp.sin(b / 2)
    plus, minus = jnp.exp(0.5j * (a + c)), jnp.exp(0.5j * (a - c))
    rows = [stay * plus.conj(), hop * minus, hop * minus.conj(), stay * plus]
    return jnp.stack(rows, axis=-1).reshape(*b.shape, 2, 2)


def axes(table: Array) -> Array:
    """Unit vectors m with (dU/dθ) U† = −(i/2) m·σ, for angles (..., 3): shape (..., 3, 3). See ``states.axes``."""
    _, b, c = jnp.moveaxis(table, -1, 0)
    zero, one = jnp.zeros_like(b), jnp.ones_like(b)
    first = [jnp.sin(b) * jnp.sin(c), -jnp.sin(b) * jnp.cos(c), jnp.cos(b)]
    return jnp.stack([*first, jnp.cos(c), jnp.sin(c), zero, zero, zero, one], axis=-1).reshape(*b.shape, 3, 3)


def merge(unitary: Array, group: range) -> Array:
    """The Kronecker product of 2x2 matrices (..., n, 2, 2) over a group of k qubits: shape (..., 2ᵏ, 2ᵏ)."""
    product = unitary[..., group[0], :, :]
    for qubit in group[1:]:
        size = 2 * product.shape[-1]
        blocks = unitary[..., qubit, :, None, :, None] * product[..., None, :, None, :]
        product = blocks.reshape(*product.shape[:-2], size, size)
    return product


def rotate(matrices: Matrices, state: Array) -> Array:
    """Applies one matrix to each group of qubits."""
    shape = state.shape
    right = 1
    for matrix in matrices:
        size = matrix.shape[-1]
        if right == 1:
            state = state.reshape(*shape[:-1], -1, size) @ matrix.mT
        elif right * size == shape[-1]:  # the most significant group: with two groups, A_hi S A_loᵀ
            state = matrix @ state.reshape(*shape[:-1], size, right)
        else:
            state = matrix[..., None, :, :] @ state.reshape(*shape[:-1], -1, size, right)
        right *= size
    return state.reshape(shape)


def rotate_alike(matrices: Matrices, states: Array) -> Array:
    """The same matrices on all states of a batch (..., B, 2ⁿ), as if B were more significant qubits: few products."""
    return rotate(matrices, states.reshape(*states.shape[:-2], -1)).reshape(states.shape)


def entangle(state: Array, gather: Array) -> Array:
    """All CNOTs of a layer."""
    # A permutation: said so, the gather needs no clamping and its transpose no atomic addition.
    return state.at[..., gather].get(mode="promise_in_bounds", unique_indices=True)


def zeros(shape: tuple[int, ...], like: Array) -> Array:
    """|0…0> of ``shape`` (..., 2ⁿ), in the type of ``like``."""
    return jnp.zeros(shape, like.dtype).at[..., 0].set(1)


def evolve(
    layers: Matrices,
    gather: Array,
    rotate: Rotate = rotate,
    entangle: Entangle = entangle,
    start: Array | None = None,
) -> Array:
    """``start``, or |0…0>, through all layers; ``layers`` holds (d+1, 2ᵏ, 2ᵏ) for each group. The last has no CNOTs."""

    def step(state: Array, matrices: Matrices) -> tuple[Array, None]:
        return entangle(rotate(matrices, state), gather), None

    start = zeros((len(gather),), layers[0]) if start is None else start
    state, _ = jax.lax.scan(step, start, [matrix[:-1] for matrix in layers])
    return rotate([matrix[-1] for matrix in layers], state)


def probabilities(state: Array) -> Array:
    return jnp.square(state.real) + jnp.square(state.imag)


def overlaps(pair: Array, parts: tuple[range, ...]) -> Array:
    """Im tr(σ R_q), R_q[a, b] = Σ_rest ψ[a] λ*[b], of the pair (ψ, λ) of shape (2, 2ⁿ): shape (n, 3), axes X Y Z.

    Of batches (2, B, 2ⁿ) it is the sum over all states.
    """
    moments = []
    for group in parts:
        psi, cotangent = pair.reshape(2, -1, 2 ** len(group), 2**group.start)
        reduced = jnp.einsum("lar,lbr->ab", psi, cotangent.conj())
        index, coefficient = tables.pauli_elements(len(group))
        elements = reduced.ravel()[jnp.asarray(index, jnp.int32)]
        moments.append((jnp.asarray(coefficient, pair.dtype) * elements).sum(axis=-1).imag)
    return jnp.concatenate(moments)


def angle_table(qubits: int, depth: int, theta: Array) -> Array:
    """θ (P,) as angles (d+1, n, 3); absent gates turn by zero, so that all layers look the same to the scan."""
    empty = jnp.zeros((depth + 1) * qubits * 3, theta.dtype)
    slots = tables.angle_slots(qubits, depth)
    return empty.at[slots].set(theta, unique_indices=True).reshape(depth + 1, qubits, 3)


def layers_of(table: Array) -> Matrices:
    """The merged unitaries (d+1, 2ᵏ, 2ᵏ) of each group, from angles (d+1, n, 3)."""
    unitary = unitaries(table)
    return [merge(unitary, group) for group in tables.groups(table.shape[-2])]


def sweep_back(table: Array, layers: Matrices, gather: Array, pair: Array, rotate: Rotate = rotate) -> Array:
    """dL/dangle (d+1, n, 3), by un-applying the layers from the ``pair`` (ψ, λ) of shape (2, 2ⁿ); dL = 2 Re <λ|dψ>.

    Of a batch (2, B, 2ⁿ), dL is the sum over its states.
    """
    parts = tables.groups(table.shape[-2])
    inverse = jnp.zeros_like(gather).at[gather].set(jnp.arange(len(gather), dtype=gather.dtype), unique_indices=True)

    def step_back(pair: Array, matrices: Matrices) -> tuple[Array, Array]:
        before = rotate([matrix.mT.conj() for matrix in matrices], pair)
        pair = entangle(before, inverse)
        return pair, overlaps(pair, parts)

    last = overlaps(pair, parts)
    _, moments = jax.lax.scan(step_back, pair, [matrix[1:] for matrix in layers], reverse=True)
    by_layer = jnp.concatenate([moments, last[None]])
    return jnp.einsum("lqga,lqa->lqg", axes(table), by_layer)


def by_shifts(slope: Callable[[Array, Array], Array], theta: Array, pairs: int) -> Array:
    """``slope(θ⁺, θ⁻)`` of each component of θ (P,), θ± (P,) being θ with it shifted by ±π/2: shape (P,).

    ``pairs`` of them at once.
    """

    def component(k: Array) -> Array:
        return slope(theta.at[k].add(jnp.pi / 2), theta.at[k].add(-jnp.pi / 2))

    return jax.lax.map(component, jnp.arange(theta.size), batch_size=min(pairs, theta.size))
