"""Alternating circuits, by hand: e^{−iγD} and e^{−iβΣX} in turn from |+…+>, the way back, and both along a direction.

A mixer turns every qubit alike, e^{−iβX} = Rx(2β), so it is a layer of rotations. With ψ the state after a step,
dψ = −iDψ dγ and dψ = −iΣXψ dβ; with λ = Hψ, dL = 2 Re <λ|dψ>, so

    dL/dγ = 2 Im <λ|Dψ>,    dL/dβ = 2 Im <λ|ΣXψ>,

λ being taken back by the inverse of each step, which is its adjoint. Along θ + t v a step U = e^{−iγG} changes by
−iγ̇GU, G being D or ΣX:

    forwards   ψ̇ ← Uψ̇ − iγ̇GUψ,    backwards   λ̇ ← U†(λ̇ + iγ̇Gλ),    tangent of a slope   2 Im(<λ̇|Gψ> + <λ|Gψ̇>).

Sources: Farhi, Goldstone, Gutmann, arXiv:1411.4028 (the circuit); Jones, Gacon, arXiv:2009.02823 (the way back).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from diffprog.circuits import tables
from diffprog.circuits.states import Matrices, adjoint_of, layers_of, rotate
from diffprog.spec import Array
from diffprog.tasks.vqe.hamiltonian import flipped

Phase = Callable[[Array, Array], Array]
Rotate = Callable[[Matrices, Array], Array]
Pair = tuple[Array, Array]


def mixers(beta: Array) -> list[Matrices]:
    """The matrices of each layer from the angles β (..., p, n) of its qubits."""
    table = np.zeros((*beta.shape, 3), beta.dtype)
    table[..., 1] = 2 * beta
    return layers_of(table, tables.groups(beta.shape[-1]))


def alike(qubits: int, beta: Array) -> list[Matrices]:
    """The same angle β (p,) for all qubits."""
    return mixers(np.repeat(beta[:, None], qubits, axis=1))


def phased(turns: Array, state: Array) -> Array:
    """e^{−i turns} ∘ ψ, turns (..., 2ⁿ) real."""
    return np.exp(-1j * turns) * state


def plus(qubits: int, kind: np.dtype[Any]) -> Array:
    """|+…+>, (2ⁿ,)."""
    return np.full(1 << qubits, 2 ** (-qubits / 2), kind)


def evolve(
    turns: Sequence[Callable[[], Array]], layers: list[Matrices], phase: Phase = phased, rotate: Rotate = rotate
) -> Iterator[Array]:
    """ψ (..., 2ⁿ) after each step: phases, mixer, phases, …; ``turns`` are made as they are needed."""
    kind = layers[0][0].dtype
    state = plus(sum(matrix.shape[-1].bit_length() - 1 for matrix in layers[0]), kind)
    for turn, matrices in zip(turns, layers, strict=True):
        state = phase(turn(), state)
        yield state
        state = rotate(matrices, state)
        yield state


def turns_of(gamma: Array, diagonal: Array) -> list[Callable[[], Array]]:
    """γ_l D of each layer."""
    return [lambda angle=angle: angle * diagonal for angle in gamma]  # type: ignore[misc]


def sweep_back(gamma: Array, layers: list[Matrices], diagonal: Array, kept: list[Array], bar: Array) -> Array:
    """dL/dθ (2p,), from λ and from ψ after each step, or the last one alone: the others are un-applied then."""
    qubits = len(diagonal).bit_length() - 1
    psi = kept.pop()
    slopes = np.empty((2, len(gamma)), gamma.dtype)
    for layer in range(len(gamma) - 1, -1, -1):
        slopes[1, layer] = 2 * np.vdot(bar, flipped(qubits, psi)).imag
        undo = adjoint_of(layers[layer])
        bar = rotate(undo, bar)
        psi = kept.pop() if kept else rotate(undo, psi)
        slopes[0, layer] = 2 * np.vdot(bar, diagonal * psi).imag
        if layer:
            bar = phased(-gamma[layer] * diagonal, bar)
            psi = kept.pop() if kept else phased(-gamma[layer] * diagonal, psi)
    return slopes.ravel()


def evolve_along(theta: Array, v: Array, layers: list[Matrices], diagonal: Array) -> Iterator[Pair]:
    """ψ and ψ̇ after each step."""
    qubits = len(diagonal).bit_length() - 1
    psi = plus(qubits, layers[0][0].dtype)
    psi_dot = np.zeros_like(psi)
    for gamma, gamma_dot, beta_dot, matrices in zip(*theta.reshape(2, -1)[:1], *v.reshape(2, -1), layers, strict=True):
        psi = phased(gamma * diagonal, psi)
        psi_dot = phased(gamma * diagonal, psi_dot) - 1j * gamma_dot * diagonal * psi
        yield psi, psi_dot
        psi = rotate(matrices, psi)
        psi_dot = rotate(matrices, psi_dot) - 1j * beta_dot * flipped(qubits, psi)
        yield psi, psi_dot


def sweep_back_along(
    theta: Array, v: Array, layers: list[Matrices], diagonal: Array, kept: list[Pair], bar: Array, bar_dot: Array
) -> Array:
    """The tangent (2p,) of ``sweep_back``, from λ and λ̇ and from ψ and ψ̇ after each step; empties these."""
    qubits = len(diagonal).bit_length() - 1
    gamma, (gamma_dot, beta_dot) = theta.reshape(2, -1)[0], v.reshape(2, -1)
    slopes = np.empty((2, len(gamma)), gamma.dtype)
    for layer in range(len(gamma) - 1, -1, -1):
        psi, psi_dot = kept.pop()
        found = np.vdot(bar_dot, flipped(qubits, psi)) + np.vdot(bar, flipped(qubits, psi_dot))
        slopes[1, layer] = 2 * found.imag
        undo = adjoint_of(layers[layer])
        bar_dot = rotate(undo, bar_dot + 1j * beta_dot[layer] * flipped(qubits, bar))
        bar = rotate(undo, bar)
        psi, psi_dot = kept.pop()
        slopes[0, layer] = 2 * (np.vdot(bar_dot, diagonal * psi) + np.vdot(bar, diagonal * psi_dot)).imag
        bar_dot = phased(-gamma[layer] * diagonal, bar_dot + 1j * gamma_dot[layer] * diagonal * bar)
        bar = phased(-gamma[layer] * diagonal, bar)
    return slopes.ravel()
