"""The Born machine in PyTorch as an expert writes it: ``reverse``'s gradient by hand, few kernels on kept memory.

States are (2ⁿ,), complex. A layer permutes its state by the CNOTs and then applies one matrix A to each group of k
qubits. These commute; each is one large product, S → A Sᵀ with S of shape (2ⁿ⁻ᵏ, 2ᵏ), which takes the qubits in the least
significant places to the most significant ones: after all groups each is where it was.

The loss is L = qᵀKq, q = p − π, p = |ψ|²; K is symmetric, so dL/dp = 2Kq needs no second product. With μ = λ*, the
conjugate of λ = 2Kq ∘ ψ, dL = 2 Re Σ μ dψ. A layer's adjoint carries μ back without a conjugation,

    μ before the rotations = Aᵀ μ for each group,  μ before the CNOTs = the inverse gather of it,

and dψ = −(i/2) m·σ ψ dθ gives dL/dθ = m · Im tr(σ R_q), R_q[a, b] = Σ_rest ψ[a] μ[b], of ψ and μ after the layer: as in
``reference``, but of all layers at once, which is why all ψ and all μ are kept.
"""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor

from suite.spec import Expert
from suite.tasks.qcbm import circuit
from suite.tasks.qcbm.on_torch import Constants, Data, axes, constants, kernel_product, merge
from suite.tasks.qcbm.spec import QcbmConfig

Layers = list[tuple[Tensor, ...]]
"""For each layer one matrix (2ᵏ, 2ᵏ) for each group of k qubits, the least significant group first."""


def runs(qubits: int) -> list[tuple[slice, int, int]]:
    """Neighbouring groups of equal size: which qubits, how many groups, of how many qubits each."""
    found = []
    for size, same in groupby(circuit.groups(qubits), key=len):
        parts = list(same)
        found.append((slice(parts[0].start, parts[-1].stop), len(parts), size))
    return found


def unitaries(table: Tensor) -> Tensor:
    """Rz(c) Rx(b) Rz(a) of angles (..., 3) = (a, b, c): shape (..., 2, 2); from moduli and phases."""
    a, b, c = (table / 2).unbind(-1)
    plus, minus, turn = a + c, a - c, torch.pi / 2
    stay, hop = b.cos(), b.sin()
    phases = torch.stack([-plus, minus - turn, -minus - turn, plus], dim=-1)
    return torch.polar(torch.stack([stay, hop, hop, stay], dim=-1), phases).unflatten(-1, (2, 2))


def layers_of(qubits: int, table: Tensor) -> Layers:
    """The merged matrices of angles (d+1, n, 3)."""
    unitary, groups = unitaries(table), []
    for chosen, count, size in runs(qubits):
        merged = merge(unitary[:, chosen].unflatten(1, (count, size)).unbind(2))
        groups += merged.unbind(1)
    return list(zip(*[matrix.unbind() for matrix in groups], strict=True))


def rotate(matrices: tuple[Tensor, ...], state: Tensor, out: Tensor, spare: Tensor) -> Tensor:
    """Applies one matrix to each group of qubits; three pieces of memory."""
    left = len(matrices)
    for matrix in matrices:
        left -= 1
        target = spare if left % 2 else out
        size = len(matrix)
        torch.mm(matrix, state.view(-1, size).T, out=target.view(size, -1))
        state = target
    return out


def evolve(layers: Layers, gather: Tensor, states: Tensor) -> Tensor:
    """|0…0> through all layers. Fills ``states`` (layers or 1, 2ⁿ) and returns the last."""
    kept = states.unbind()
    permuted, spare = torch.zeros_like(kept[0]), torch.empty_like(kept[0])
    permuted[0].fill_(1)
    state = permuted
    for layer, matrices in enumerate(layers):
        if layer:
            torch.index_select(state, 0, gather, out=permuted)
        state = rotate(matrices, permuted, kept[layer % len(kept)], spare)
    return state


def pull_back(layers: Layers, gather: Tensor, cotangents: Tensor) -> None:
    """Fills μ after each layer, (layers, 2ⁿ), from the last."""
    inverse = torch.empty_like(gather).scatter_(0, gather, torch.arange(len(gather), device=gather.device))
    kept = cotangents.unbind()
    before, spare = torch.empty_like(kept[0]), torch.empty_like(kept[0])
    for layer in range(len(layers) - 1, 0, -1):
        rotate(tuple(matrix.T for matrix in layers[layer]), kept[layer], before, spare)
        torch.index_select(before, 0, inverse, out=kept[layer - 1])


def overlaps(qubits: int, states: Tensor, cotangents: Tensor, fixed: Constants) -> Tensor:
    """Im tr(σ R_q), R_q[a, b] = Σ_rest ψ[a] μ[b], of ψ and μ (layers, 2ⁿ): shape (layers, n, 3), axes X Y Z."""
    moments, right, group = [], 1, 0
    for _, count, qubits_each in runs(qubits):
        size, reduced = 2**qubits_each, []
        for _ in range(count):
            shape = (len(states), -1, size, right) if right > 1 else (len(states), -1, size)
            psi, mu = states.view(shape), cotangents.view(shape)
            if right == 1:
                reduced.append(psi.mT @ mu)
            elif psi.shape[1] == 1:
                reduced.append(psi[:, 0] @ mu[:, 0].mT)
            else:
                reduced.append((psi @ mu.mT).sum(dim=1))
            right *= size
        index, coefficient = fixed.pauli[group]
        flat = torch.stack(reduced, dim=1).flatten(2)
        moments.append((flat.index_select(2, index.flatten()).unflatten(2, index.shape) * coefficient).sum(dim=-1))
        group += count
    return torch.cat([moment.flatten(1, 2) for moment in moments], dim=1).imag


def smoothed(config: QcbmConfig, sigmas: Tensor, q: Tensor, fixed: Constants) -> Tensor:
    """K q; see ``on_torch.kernel_product``. The dense K has 2ⁿ different elements, one for each |x − y|."""
    if not config.dense_kernel:
        return kernel_product(config, fixed.hamming, sigmas, q)
    x = torch.arange(len(q), device=q.device)
    column = torch.exp(x.to(q.dtype).square() / (-2 * sigmas[:, None])).sum(dim=0)
    return column[(x[:, None] - x).abs_()] @ q


def build(config: QcbmConfig) -> Expert:
    n, depth = config.qubits, config.depth

    def forward(theta: Tensor, data: Data, kept: int) -> tuple[Constants, Tensor, Layers, Tensor, Tensor, Tensor]:
        """Constants, angles, layers, states (kept, 2ⁿ), the loss, and Kq."""
        fixed = constants(n, depth, theta.device, theta.dtype)
        table = theta.new_zeros((depth + 1) * n * 3).index_copy_(0, fixed.slots, theta).view(depth + 1, n, 3)
        layers = layers_of(n, table)
        states = layers[0][0].new_empty(kept, 2**n)
        psi = evolve(layers, data["permutation"], states)
        q = torch.view_as_real(psi).square().sum(dim=-1).sub_(data["target"])
        kq = smoothed(config, data["sigmas"], q, fixed)
        return fixed, table, layers, states, q @ kq, kq

    def value(theta: Tensor, data: Data) -> Tensor:
        return forward(theta, data, kept=1)[-2]

    def gradient(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        fixed, table, layers, states, loss, kq = forward(theta, data, kept=depth + 1)
        cotangents = torch.empty_like(states)
        torch.mul(states[-1].conj(), 2 * kq, out=cotangents[-1])
        pull_back(layers, data["permutation"], cotangents)
        moments = overlaps(n, states, cotangents, fixed)
        return loss, (axes(table) * moments.unsqueeze(-2)).sum(dim=-1).flatten()[fixed.slots]

    return Expert(value, gradient)
