"""Circuits of layers on states: rotations of all qubits, CNOTs between them, and the way back.

Shapes: a state is (..., 2ⁿ), complex128 for float64 angles and complex64 for float32; leading axes are a batch.

Sources: Liu, Wang, arXiv:1804.04168 (the circuit); Jones, Gacon, arXiv:2009.02823 and Luo et al., arXiv:1912.10877,
section on reversible differentiation (un-applying it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from diffprog.circuits import tables
from diffprog.spec import Array

Matrices = list[Array]
"""One unitary (..., 2ᵏ, 2ᵏ) for each group of k qubits, the least significant group first."""
Rotate = Callable[[Matrices, Array], Array]
Entangle = Callable[[Array, Array], Array]


def unitaries(table: Array) -> Array:
    """Rz(c) Rx(b) Rz(a) of angles (..., 3) = (a, b, c): shape (..., 2, 2)."""
    a, b, c = np.moveaxis(table, -1, 0)
    stay, hop = np.cos(b / 2), -1j * np.sin(b / 2)
    plus, minus = np.exp(0.5j * (a + c)), np.exp(0.5j * (a - c))
    rows = [stay * plus.conj(), hop * minus, hop * minus.conj(), stay * plus]
    return np.stack(rows, axis=-1).reshape(*b.shape, 2, 2)


def axes(table: Array) -> Array:
    """For each angle of (..., 3) the unit vector m of its generator: (dU/dθ) U† = −(i/2) m·σ. Shape (..., 3, 3).

    The last Rz turns about z; Rx about x carried along by the last Rz; the first Rz about z carried along by both.
    """
    _, b, c = np.moveaxis(table, -1, 0)
    zero, one = np.zeros_like(b), np.ones_like(b)
    first = [np.sin(b) * np.sin(c), -np.sin(b) * np.cos(c), np.cos(b)]
    return np.stack([*first, np.cos(c), np.sin(c), zero, zero, zero, one], axis=-1).reshape(*b.shape, 3, 3)


def merge(unitary: Array, group: range) -> Array:
    """The Kronecker product of 2x2 matrices (..., n, 2, 2) over a group of k qubits: shape (..., 2ᵏ, 2ᵏ)."""
    product = unitary[..., group[0], :, :]
    for qubit in group[1:]:
        size = 2 * product.shape[-1]
        u = unitary[..., qubit, :, None, :, None]
        product = (u * product[..., None, :, None, :]).reshape(*product.shape[:-2], size, size)
    return product


def rotate(matrices: Matrices, state: Array) -> Array:
    """Applies one matrix to each group of qubits of a state (..., 2ⁿ)."""
    shape = state.shape
    right = 1
    for matrix in matrices:
        size = matrix.shape[-1]
        if right == 1:
            state = state.reshape(*shape[:-1], -1, size) @ matrix.swapaxes(-1, -2)
        elif right * size == shape[-1]:  # the most significant group: with two groups, A_hi S A_loᵀ
            state = matrix @ state.reshape(*shape[:-1], size, right)
        else:
            state = matrix[..., None, :, :] @ state.reshape(*shape[:-1], -1, size, right)
        right *= size
    return state.reshape(shape)


def rotate_alike(matrices: Matrices, states: Array) -> Array:
    """The same matrices on all states of a batch (..., B, 2ⁿ), as if B were more significant qubits: few products."""
    return rotate(matrices, states.reshape(*states.shape[:-2], -1)).reshape(states.shape)


def summed(matrices: Matrices, state: Array) -> Array:
    """Σ_g A_g ψ for ψ (..., 2ⁿ): each group's matrix (2ᵏ, 2ᵏ) on its own qubits alone, added up."""
    total, right = np.zeros_like(state), 1
    for matrix in matrices:
        size = len(matrix)
        total += (matrix @ state.reshape(-1, size, right)).reshape(state.shape)
        right *= size
    return total


def adjoint_of(matrices: Matrices) -> Matrices:
    return [matrix.conj().swapaxes(-1, -2) for matrix in matrices]


def entangle(state: Array, gather: Array) -> Array:
    """All CNOTs of a layer on states (..., 2ⁿ)."""
    return state[..., gather]


def zeros(shape: tuple[int, ...], like: Array) -> Array:
    """|0…0> of ``shape`` (..., 2ⁿ), in the type of ``like``."""
    state = np.zeros(shape, like.dtype)
    state[..., 0] = 1
    return state


def evolve(
    layers: list[Matrices],
    gather: Array,
    rotate: Rotate = rotate,
    entangle: Entangle = entangle,
    start: Array | None = None,
) -> Iterator[Array]:
    """The state (..., 2ⁿ) after each layer's rotations, from ``start``, or from |0…0>."""
    first = layers[0][0]
    state = zeros((*first.shape[:-2], len(gather)), first) if start is None else start
    for index, matrices in enumerate(layers):
        if index:
            state = entangle(state, gather)
        state = rotate(matrices, state)
        yield state


def probabilities(state: Array) -> Array:
    """|ψ|², real."""
    return np.asarray(state.real**2 + state.imag**2)


def overlaps(psi: Array, cotangent: Array, parts: tuple[range, ...]) -> Array:
    """Im tr(σ R_q), R_q[a, b] = Σ_rest ψ[a] λ*[b] over the other qubits, of states (2ⁿ,): shape (n, 3), axes X Y Z.

    Of batches (..., 2ⁿ) it is the sum over all states.
    """
    moments = []
    for group in parts:
        size, right = 2 ** len(group), 2**group.start
        if right == 1:
            reduced = psi.reshape(-1, size).T @ cotangent.reshape(-1, size).conj()
        else:
            bra = cotangent.reshape(-1, size, right).conj().swapaxes(1, 2)
            reduced = (psi.reshape(-1, size, right) @ bra).sum(axis=0)
        index, coefficient = tables.pauli_elements(len(group))
        moments.append((coefficient.astype(psi.dtype) * reduced.ravel()[index]).sum(axis=-1).imag)
    return np.concatenate(moments)


def angle_table(qubits: int, depth: int, theta: Array) -> Array:
    """θ (..., P) as angles (..., d+1, n, 3); gates that are absent turn by zero."""
    table = np.zeros((*theta.shape[:-1], (depth + 1) * qubits * 3), theta.dtype)
    table[..., tables.angle_slots(qubits, depth)] = theta
    return table.reshape(*theta.shape[:-1], depth + 1, qubits, 3)


def layers_of(table: Array, parts: tuple[range, ...]) -> list[Matrices]:
    """The merged unitaries of each layer, from angles (..., d+1, n, 3)."""
    unitary = unitaries(table)
    merged = [merge(unitary, group) for group in parts]
    return [[matrix[..., layer, :, :] for matrix in merged] for layer in range(table.shape[-3])]


def sweep_back(
    table: Array,
    layers: list[Matrices],
    gather: Array,
    kept: Sequence[Array],
    cotangent: Array,
    rotate: Rotate = rotate,
) -> Array:
    """dL/dangle (d+1, n, 3), where dL = 2 Re <λ|dψ> for the last state ψ and its ``cotangent`` λ (2ⁿ,).

    ``kept`` are the states after each layer, or the last one alone: those before it are then un-applied as λ is, by
    ``rotate``. States may be batches (B, 2ⁿ): dL is then the sum over them.
    """
    *before, psi = kept
    depth, n = len(layers) - 1, table.shape[1]
    parts = tables.groups(n)
    inverse = np.empty_like(gather)
    inverse[gather] = np.arange(len(gather))
    moments = np.empty_like(table)
    for layer in range(depth, -1, -1):
        moments[layer] = overlaps(psi, cotangent, parts)
        if layer:
            undo = adjoint_of(layers[layer])
            cotangent = entangle(rotate(undo, cotangent), inverse)
            psi = before.pop() if before else entangle(rotate(undo, psi), inverse)
    # dψ = −(i/2) m·σ ψ dθ, so dL = 2 Re <λ|dψ> = m · Im tr(σ R) dθ.
    return np.asarray(np.einsum("lqga,lqa->lqg", axes(table), moments))


def by_shifts(slope: Callable[[Array, Array], Array], theta: Array, pairs: int) -> Array:
    """``slope(θ⁺, θ⁻)`` of each component of θ (P,): shape (P,). θ± (k, P) are θ with one of k components at a time
    shifted by ±π/2, ``pairs`` of them at once, and the slope is (k,).
    """
    found = np.empty_like(theta)
    for start in range(0, len(theta), pairs):
        chosen = np.arange(start, min(start + pairs, len(theta)))
        shift = np.zeros((len(chosen), len(theta)), theta.dtype)
        shift[np.arange(len(chosen)), chosen] = np.pi / 2
        found[chosen] = slope(theta + shift, theta - shift)
    return found
