"""The circuit on states in PyTorch, and the loss's kernel.

Shapes as in ``simulation``: states are (..., 2ⁿ), complex, leading axes a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffprog.tasks.qcbm import circuit
from diffprog.tasks.qcbm.problem import QcbmConfig

Matrices = tuple[Tensor, ...]
"""One unitary (..., 2ᵏ, 2ᵏ) for each group of k qubits, the least significant group first."""
Data = dict[str, Tensor]
Rotate = Callable[[Matrices, Tensor], Tensor]
Entangle = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Constants:
    """Index tables on one device, in one precision; see ``diffprog.tasks.qcbm.circuit``."""

    slots: Tensor
    pauli: tuple[tuple[Tensor, Tensor], ...]
    hamming: tuple[Tensor, ...]


CONSTANTS: dict[tuple[int, int, torch.device, torch.dtype], Constants] = {}


def constants(qubits: int, depth: int, device: torch.device, dtype: torch.dtype) -> Constants:
    """Kept in a dictionary, which a compiler looks up; it would not know what ``functools.cache`` has."""
    key = qubits, depth, device, dtype
    if key not in CONSTANTS:
        CONSTANTS[key] = make_constants(*key)
    return CONSTANTS[key]


def make_constants(qubits: int, depth: int, device: torch.device, dtype: torch.dtype) -> Constants:
    sizes = [len(group) for group in circuit.groups(qubits)]
    return Constants(
        torch.as_tensor(circuit.angle_slots(qubits, depth), device=device),
        tuple(
            (torch.as_tensor(index, device=device), torch.as_tensor(coefficient, device=device).to(dtype.to_complex()))
            for index, coefficient in map(circuit.pauli_elements, sizes)
        ),
        tuple(torch.as_tensor(circuit.hamming_distances(size), device=device).to(dtype) for size in sizes),
    )


def unitaries(table: Tensor) -> Tensor:
    """Rz(c) Rx(b) Rz(a) of angles (..., 3) = (a, b, c): shape (..., 2, 2)."""
    a, b, c = table.unbind(-1)
    stay, hop = torch.cos(b / 2), -1j * torch.sin(b / 2)
    plus, minus = torch.exp(0.5j * (a + c)), torch.exp(0.5j * (a - c))
    rows = [stay * plus.conj(), hop * minus, hop * minus.conj(), stay * plus]
    return torch.stack(rows, dim=-1).unflatten(-1, (2, 2))


def axes(table: Tensor) -> Tensor:
    """Unit vectors m with (dU/dθ) U† = −(i/2) m·σ, for angles (..., 3): shape (..., 3, 3). See ``simulation.axes``."""
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


def entangle(state: Tensor, gather: Tensor) -> Tensor:
    """All CNOTs of a layer."""
    return state.index_select(-1, gather)


def evolve(layers: list[Matrices], gather: Tensor, rotate: Rotate = rotate, entangle: Entangle = entangle) -> Tensor:
    """|0…0> through all layers of rotations, with CNOTs between them."""
    first = layers[0][0]
    state = first.new_zeros(*first.shape[:-2], len(gather))
    state.select(-1, 0).fill_(1)  # an assignment would bring the number from the host
    state = rotate(layers[0], state)
    for matrices in layers[1:]:
        state = rotate(matrices, entangle(state, gather))
    return state


def probabilities(state: Tensor) -> Tensor:
    return state.real.square() + state.imag.square()


def overlaps(pair: Tensor, pauli: tuple[tuple[Tensor, Tensor], ...]) -> Tensor:
    """Im tr(σ R_q), R_q[a, b] = Σ_rest ψ[a] λ*[b], of the pair (ψ, λ) of shape (2, 2ⁿ): shape (n, 3), axes X Y Z."""
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


def kernel_product(config: QcbmConfig, hamming: tuple[Tensor, ...], sigmas: Tensor, q: Tensor) -> Tensor:
    """K q for q (2ⁿ,), K = Σ_σ exp(−|x−y|²/2σ); the 2ⁿ x 2ⁿ matrix is formed only where the configuration says so."""
    size = len(q)
    if config.kernel == "hamming":
        factors = tuple(torch.exp(-distances / (2 * sigmas[:, None, None])) for distances in hamming)
        return rotate(factors, q.expand(len(sigmas), size)).sum(dim=0)
    x = torch.arange(size, dtype=q.dtype, device=q.device)
    if config.dense_kernel:
        squares = (x[:, None] - x).square()
        return torch.exp(-squares / (2 * sigmas[:, None, None])).sum(dim=0) @ q
    column = torch.exp(-x.square() / (2 * sigmas[:, None])).sum(dim=0)
    circulant = torch.cat([column, column.new_zeros(1), column[1:].flip(0)])
    spectrum = torch.fft.rfft(circulant) * torch.fft.rfft(q, 2 * size)
    return torch.fft.irfft(spectrum, 2 * size)[:size]
