"""Circuits of layers on states in PyTorch.

Shapes as in ``states``: states are (..., 2ⁿ), complex, leading axes a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffprog.circuits import tables

Matrices = tuple[Tensor, ...]
"""One unitary (..., 2ᵏ, 2ᵏ) for each group of k qubits, the least significant group first."""
Data = dict[str, Tensor]
Rotate = Callable[[Matrices, Tensor], Tensor]
Entangle = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Constants:
    """Index tables on one device, in one precision; see ``diffprog.circuits.tables``."""

    slots: Tensor
    pauli: tuple[tuple[Tensor, Tensor], ...]


CONSTANTS: dict[tuple[int, int, torch.device, torch.dtype], Constants] = {}


def constants(qubits: int, depth: int, device: torch.device, dtype: torch.dtype) -> Constants:
    """Kept in a dictionary, which a compiler looks up; it would not know what ``functools.cache`` has."""
    key = qubits, depth, device, dtype
    if key not in CONSTANTS:
        CONSTANTS[key] = make_constants(*key)
    return CONSTANTS[key]


def make_constants(qubits: int, depth: int, device: torch.device, dtype: torch.dtype) -> Constants:
    sizes = [len(group) for group in tables.groups(qubits)]
    return Constants(
        torch.as_tensor(tables.angle_slots(qubits, depth), device=device),
        tuple(
            (torch.as_tensor(index, device=device), torch.as_tensor(coefficient, device=device).to(dtype.to_complex()))
            for index, coefficient in map(tables.pauli_elements, sizes)
        ),
    )


def unitaries(table: Tensor) -> Tensor:
    """Rz(c) Rx(b) Rz(a) of angles (..., 3) = (a, b, c): shape (..., 2, 2)."""
    a, b, c = table.unbind(-1)
    stay, hop = torch.cos(b / 2), -1j * torch.sin(b / 2)
    plus, minus = torch.exp(0.5j * (a + c)), torch.exp(0.5j * (a - c))
    rows = [stay * plus.conj(), hop * minus, hop * minus.conj(), stay * plus]
    return torch.stack(rows, dim=-1).unflatten(-1, (2, 2))


def axes(table: Tensor) -> Tensor:
    """Unit vectors m with (dU/dθ) U† = −(i/2) m·σ, for angles (..., 3): shape (..., 3, 3). See ``states.axes``."""
    _, b, c = table.unbind(-1)
    zero, one = torch.zeros_like(b), torch.ones_like(b)
    first = [b.sin() * c.sin(), -b.sin() * c.cos(), b.cos()]
    return torch.stack([*first, c.cos(), c.sin(), zero, zero, zero, one], dim=-1).unflatten(-1, (3, 3))


def merge(factors: tuple[Tensor, ...]) -> Tensor:
    """Kronecker product of 2x2 matrices (..., 2, 2), the least significant qubit's first: shape (..., 2ᵏ, 2ᵏ)."""
    product, *rest = factors
    for factor in rest:
        blocks = factor[..., :, None, :, None] * product[..., None, :, None, :]
        product = blocks.flatten(-2).flatten(-3, -2)
    return product


def rotate(matrices: Matrices, state: Tensor) -> Tensor:
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
            state = matrix.unsqueeze(-3) @ state.reshape(*shape[:-1], -1, size, right)
        right *= size
    return state.reshape(shape)


def rotate_alike(matrices: Matrices, states: Tensor) -> Tensor:
    """The same matrices on all states of a batch (..., B, 2ⁿ), as if B were more significant qubits: few products."""
    return rotate(matrices, states.flatten(-2)).reshape(states.shape)


def entangle(state: Tensor, gather: Tensor) -> Tensor:
    """All CNOTs of a layer."""
    return state.index_select(-1, gather)


def zeros(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """|0…0> of ``shape`` (..., 2ⁿ), of the type and device of ``like``."""
    state = like.new_zeros(shape)
    state.select(-1, 0).fill_(1)  # an assignment would bring the number from the host
    return state


def evolve(
    layers: list[Matrices],
    gather: Tensor,
    rotate: Rotate = rotate,
    entangle: Entangle = entangle,
    start: Tensor | None = None,
) -> Tensor:
    """``start``, or |0…0>, through all layers of rotations, with CNOTs between them."""
    first = layers[0][0]
    state = zeros((*first.shape[:-2], len(gather)), first) if start is None else start
    state = rotate(layers[0], state)
    for matrices in layers[1:]:
        state = rotate(matrices, entangle(state, gather))
    return state


def probabilities(state: Tensor) -> Tensor:
    return state.real.square() + state.imag.square()


def overlaps(pair: Tensor, pauli: tuple[tuple[Tensor, Tensor], ...]) -> Tensor:
    """Im tr(σ R_q), R_q[a, b] = Σ_rest ψ[a] λ*[b], of the pair (ψ, λ) of shape (2, 2ⁿ): shape (n, 3), axes X Y Z.

    Of batches (2, B, 2ⁿ) it is the sum over all states.
    """
    moments = []
    right = 1
    for index, coefficient in pauli:
        size = index.shape[-1]
        if right == 1:
            psi, cotangent = pair.reshape(2, -1, size)
            reduced = psi.mT @ cotangent.conj()
        else:
            psi, cotangent = pair.reshape(2, -1, size, right)
            reduced = (psi @ cotangent.mH).sum(dim=0)
        moments.append((coefficient * reduced.flatten()[index]).sum(dim=-1).imag)
        right *= size
    return torch.cat(moments)


def angle_table(qubits: int, depth: int, theta: Tensor) -> Tensor:
    """θ (..., P) as angles (..., d+1, n, 3); gates that are absent turn by zero."""
    slots = constants(qubits, depth, theta.device, theta.dtype).slots
    empty = theta.new_zeros(*theta.shape[:-1], (depth + 1) * qubits * 3)
    return empty.index_copy(-1, slots, theta).unflatten(-1, (depth + 1, qubits, 3))


def layers_of(table: Tensor) -> list[Matrices]:
    """The merged unitaries of each layer, from angles (..., d+1, n, 3)."""
    factors = unitaries(table).unbind(-3)
    merged = [merge(factors[group.start : group.stop]) for group in tables.groups(len(factors))]
    return list(zip(*[matrix.unbind(-3) for matrix in merged], strict=True))


def sweep_back(
    table: Tensor,
    layers: list[Matrices],
    gather: Tensor,
    pair: Tensor,
    pauli: tuple[tuple[Tensor, Tensor], ...],
    rotate: Rotate = rotate,
) -> Tensor:
    """dL/dangle (d+1, n, 3), by un-applying the layers from the ``pair`` (ψ, λ) of shape (2, 2ⁿ); dL = 2 Re <λ|dψ>.

    Of a batch (2, B, 2ⁿ), dL is the sum over its states.
    """
    inverse = torch.empty_like(gather).scatter_(0, gather, torch.arange(len(gather), device=gather.device))
    moments = []
    for matrices in layers[:0:-1]:
        moments.append(overlaps(pair, pauli))
        pair = entangle(rotate(tuple(matrix.mH for matrix in matrices), pair), inverse)
    moments.append(overlaps(pair, pauli))
    by_layer = torch.stack(moments[::-1])
    return (axes(table) @ by_layer.unsqueeze(-1)).squeeze(-1)


def by_shifts(slope: Callable[[Tensor, Tensor], Tensor], theta: Tensor, pairs: int) -> Tensor:
    """``slope(θ⁺, θ⁻)`` of each component of θ (P,): shape (P,). See ``states.by_shifts``."""
    every = torch.arange(len(theta), device=theta.device)
    found = []
    for chosen in every.split(pairs):
        shift = math.pi / 2 * (chosen[:, None] == every).to(theta.dtype)
        found.append(slope(theta + shift, theta - shift))
    return torch.cat(found)
