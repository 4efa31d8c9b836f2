"""Circuits of layers along a direction, by hand: tangents of states, and of what the way back gives.

Along θ + t v a layer of rotations U changes by U̇ = 𝒢U with 𝒢 = −(i/2) Σ_q w_q·σ_q, w_q = Σ_g v_g m_g over the angles of
a qubit and the axes m of ``states.axes``. 𝒢 is anti-Hermitian, so that with ψ the state after a layer's rotations

    forwards    ψ ← Uψ,   ψ̇ ← Uψ̇ + 𝒢ψ,
    backwards   λ̇ ← U†(λ̇ − 𝒢λ),   λ ← U†λ,   as (U†)˙ = −U†𝒢,

with the CNOTs, which are constant, in between. Gradients are m·μ with μ = Im tr(σ R[ψ, λ]), so their tangent is
ṁ·μ + m·(Im tr(σ R[ψ̇, λ]) + Im tr(σ R[ψ, λ̇])).

Sources: Jones, Gacon, arXiv:2009.02823 (the gradient); Griewank, Walther, *Evaluating Derivatives*, 2008, section 5.1
(forward over reverse: here each line of that sweep differentiated once).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from diffprog.circuits import tables
from diffprog.circuits.states import (
    Matrices,
    Rotate,
    adjoint_of,
    angle_table,
    axes,
    entangle,
    layers_of,
    overlaps,
    rotate,
    summed,
    zeros,
)
from diffprog.spec import Array


def axes_jvp(table: Array, table_dot: Array) -> Array:
    """The tangent (..., 3, 3) of ``states.axes`` from angles (..., 3) and theirs."""
    _, b, c = np.moveaxis(table, -1, 0)
    _, b_dot, c_dot = np.moveaxis(table_dot, -1, 0)
    zero = np.zeros_like(b)
    first = [
        b_dot * np.cos(b) * np.sin(c) + c_dot * np.sin(b) * np.cos(c),
        c_dot * np.sin(b) * np.sin(c) - b_dot * np.cos(b) * np.cos(c),
        -b_dot * np.sin(b),
    ]
    second = [-c_dot * np.sin(c), c_dot * np.cos(c), zero]
    return np.stack([*first, *second, zero, zero, zero], axis=-1).reshape(*b.shape, 3, 3)


def generators(turns: Array, parts: tuple[range, ...], dtype: np.dtype[Any]) -> Matrices:
    """−(i/2) Σ_q w_q·σ_q of each group's qubits, (2ᵏ, 2ᵏ), from the w of all qubits, (n, 3)."""
    found = []
    for group in parts:
        size = 2 ** len(group)
        # tr(P R) = Σ_a coefficient[a] R.ravel()[index[a]]: these are the elements of Pᵀ.
        index, coefficient = tables.pauli_elements(len(group))
        transposed = np.zeros(size * size, dtype)
        np.add.at(transposed, index, -0.5j * turns[list(group)][..., None] * coefficient.astype(dtype))
        found.append(np.ascontiguousarray(transposed.reshape(size, size).T))
    return found


class Path(NamedTuple):
    """The circuit along θ + t v: angles and their tangents (d+1, n, 3), and each layer's U and 𝒢."""

    table: Array
    table_dot: Array
    layers: list[Matrices]
    turning: list[Matrices]


def path(qubits: int, depth: int, theta: Array, v: Array) -> Path:
    return path_of(*angle_table(qubits, depth, np.stack([theta, v])))


def path_of(table: Array, table_dot: Array) -> Path:
    parts = tables.groups(table.shape[1])
    layers = layers_of(table, parts)
    turns = np.einsum("lqga,lqg->lqa", axes(table), table_dot)
    return Path(table, table_dot, layers, [generators(w, parts, layers[0][0].dtype) for w in turns])


def evolve(
    along: Path, gather: Array, rotate: Rotate = rotate, start: Array | None = None
) -> Iterator[tuple[Array, Array]]:
    """ψ and ψ̇ (..., 2ⁿ) after each layer's rotations, from ``start``, or from |0…0>.

    ``rotate`` may do more than the matrices it is given, if that does not depend on θ and comes before them.
    """
    state = zeros((len(gather),), along.layers[0][0]) if start is None else start
    state_dot = np.zeros_like(state)
    for index, (matrices, turning) in enumerate(zip(along.layers, along.turning, strict=True)):
        if index:
            state, state_dot = entangle(state, gather), entangle(state_dot, gather)
        state = rotate(matrices, state)
        state_dot = rotate(matrices, state_dot) + summed(turning, state)
        yield state, state_dot


def sweep_back(
    along: Path,
    gather: Array,
    kept: list[tuple[Array, Array]],
    bar: Array,
    bar_dot: Array,
    rotate: Rotate = rotate,
) -> Array:
    """The tangent of ``states.sweep_back``, (d+1, n, 3), from λ and λ̇ and from ψ and ψ̇ of all layers; empties these."""
    parts = tables.groups(along.table.shape[1])
    inverse = np.empty_like(gather)
    inverse[gather] = np.arange(len(gather))
    moments, moments_dot = np.empty((2, *along.table.shape), along.table.dtype)
    for layer in range(len(along.layers) - 1, -1, -1):
        psi, psi_dot = kept.pop()
        moments[layer] = overlaps(psi, bar, parts)
        moments_dot[layer] = overlaps(psi_dot, bar, parts) + overlaps(psi, bar_dot, parts)
        if layer:
            undo = adjoint_of(along.layers[layer])
            bar_dot = entangle(rotate(undo, bar_dot - summed(along.turning[layer], bar)), inverse)
            bar = entangle(rotate(undo, bar), inverse)
    turned = np.einsum("lqga,lqa->lqg", axes_jvp(along.table, along.table_dot), moments)
    return np.asarray(turned + np.einsum("lqga,lqa->lqg", axes(along.table), moments_dot))
