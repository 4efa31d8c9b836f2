"""The Born machine in PyTorch as an expert writes it: ``reverse``'s gradient by hand, few kernels on kept memory.

States are (2ⁿ,), complex. A layer permutes its state by the CNOTs and then applies one matrix A to each group of k
qubits. These commute; each is one large product, S → A Sᵀ with S of shape (2ⁿ⁻ᵏ, 2ᵏ), which takes the k qubits in the
least significant places to the most significant ones: after all groups each is where it was.

The loss is L = qᵀKq, q = p − π, p = |ψ|²; K is symmetric, so dL/dp = 2Kq needs no second product. With μ = λ*, the
conjugate of λ = 2Kq ∘ ψ, dL = 2 Re Σ μ dψ. A layer's adjoint carries μ back without a conjugation,

    μ before the rotations = Aᵀ μ for each group,  μ before the CNOTs = the inverse gather of it,

and dψ = −(i/2) m·σ ψ dθ gives dL/dθ = m · Im tr(σ R_q), R_q[a, b] = Σ_rest ψ[a] μ[b], of ψ and μ after the layer: as in
``reference``, but of all layers at once, which is why all ψ and all μ are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import torch
from torch import Tensor

from diffprog.circuits import tables
from diffprog.circuits.states_torch import Constants, Data, angle_table, axes, constants, merge
from diffprog.spec import Expert
from diffprog.tasks.qcbm.kernel_torch import kernel_product
from diffprog.tasks.qcbm.problem import QcbmConfig
from diffprog.tasks.torch_memory import Kept

Matrices = tuple[Tensor, ...]
"""Of one layer: one (2ᵏ, 2ᵏ) for each group of k qubits, the least significant group first."""


class Rows:
    """Memory for states (rows, 2ⁿ), and each row as a group's product takes it, (2ᵏ, 2ⁿ⁻ᵏ), and gives it."""

    def __init__(self, memory: Tensor, qubits: int) -> None:
        self.all, rows = memory, len(memory)
        self.each = self.all.unbind()
        sizes = [2 ** len(group) for group in tables.groups(qubits)]
        taken = {size: self.all.view(rows, -1, size).mT.unbind() for size in set(sizes)}
        given = {size: self.all.view(rows, size, -1).unbind() for size in set(sizes)}
        self.taken, self.given = [taken[size] for size in sizes], [given[size] for size in sizes]

    def rotate(self, matrices: Matrices, source: int, target: int, spare: int) -> None:
        """Applies one matrix to each group of qubits of a row; what is in two others is lost."""
        left = len(matrices)
        for matrix, taken, given in zip(matrices, self.taken, self.given, strict=True):
            left -= 1
            goal = spare if left % 2 else target
            torch.mm(matrix, taken[source], out=given[goal])
            source = goal

    def permute(self, source: int, gather: Tensor, target: int) -> None:
        torch.index_select(self.each[source], 0, gather, out=self.each[target])


def runs(qubits: int) -> list[tuple[slice, int, int]]:
    """Neighbouring groups of equal size: which qubits, how many groups, of how many qubits each."""
    found = []
    for size, same in groupby(tables.groups(qubits), key=len):
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


def merged(qubits: int, table: Tensor) -> list[Tensor]:
    """The matrices (d+1, 2ᵏ, 2ᵏ) of each group, from angles (d+1, n, 3)."""
    unitary, groups = unitaries(table), []
    for chosen, count, size in runs(qubits):
        groups += merge(unitary[:, chosen].unflatten(1, (count, size)).unbind(2)).unbind(1)
    return groups


def by_layer(groups: list[Tensor]) -> list[Matrices]:
    return list(zip(*[matrices.unbind() for matrices in groups], strict=True))


def evolve(layers: list[Matrices], gather: Tensor, states: Rows) -> int:
    """|0…0> through all layers, each into the next row, around; returns the last one's. Two rows more are lost."""
    kept = len(states.each) - 2
    permuted, spare, row = kept, kept + 1, 0
    states.each[permuted].zero_()[0].fill_(1)
    for layer, matrices in enumerate(layers):
        if layer:
            states.permute(row, gather, permuted)
        row = layer % kept
        states.rotate(matrices, permuted, row, spare)
    return row


def pull_back(transposed: list[Matrices], gather: Tensor, cotangents: Rows) -> None:
    """Fills μ after each layer from the last; two rows more are lost."""
    inverse = torch.empty_like(gather).scatter_(0, gather, torch.arange(len(gather), device=gather.device))
    layers = len(transposed)
    for layer in range(layers - 1, 0, -1):
        cotangents.rotate(transposed[layer], layer, layers, layers + 1)
        cotangents.permute(layers, inverse, layer - 1)


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


def smoothed(config: QcbmConfig, sigmas: Tensor, q: Tensor) -> Tensor:
    """K q; see ``kernel_torch.kernel_product``. The dense K has 2ⁿ different elements, one for each |x − y|."""
    if not config.dense_kernel:
        return kernel_product(config, sigmas, q)
    x = torch.arange(len(q), device=q.device)
    column = torch.exp(x.to(q.dtype).square() / (-2 * sigmas[:, None])).sum(dim=0)
    return column[(x[:, None] - x).abs_()] @ q


def squared(psi: Tensor) -> Tensor:
    """The probabilities |ψ|², in memory of their own."""
    return torch.view_as_real(psi).square().sum(dim=-1)


Loss = Callable[[Tensor, Data], Tensor]
Slopes = Callable[[Tensor, Data], tuple[Tensor, Tensor, Tensor]]


class Circuit:
    """Value and gradient of a loss of p = |ψ|²: what is common to the losses of this task."""

    def __init__(self, config: QcbmConfig) -> None:
        self.qubits, self.depth, self.kept = config.qubits, config.depth, Kept()

    def value(self, angles: Tensor, data: Data, loss: Loss) -> Tensor:
        """``loss`` of (p, data)."""
        groups = merged(self.qubits, angle_table(self.qubits, self.depth, angles))
        states = Rows(groups[0].new_empty(3, 2**self.qubits), self.qubits)
        last = evolve(by_layer(groups), data["permutation"], states)
        return loss(squared(states.each[last]), data)

    def gradient(self, angles: Tensor, data: Data, slopes: Slopes) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, its derivatives by the angles, and by all else; ``slopes`` of (p, data): L, dL/dp, the rest."""
        n, depth = self.qubits, self.depth
        fixed = constants(n, depth, angles.device, angles.dtype)
        table = angle_table(n, depth, angles)
        groups = merged(n, table)
        with self.kept.lent((2, depth + 3, 2**n), groups[0]) as memory:
            states, cotangents = (Rows(half, n) for half in memory.unbind())
            last = evolve(by_layer(groups), data["permutation"], states)
            loss, slope, rest = slopes(squared(states.each[last]), data)
            torch.mul(states.each[last].conj(), slope, out=cotangents.each[last])
            pull_back(by_layer([group.mT for group in groups]), data["permutation"], cotangents)
            moments = overlaps(n, states.all[: depth + 1], cotangents.all[: depth + 1], fixed)
        return loss, (axes(table) * moments.unsqueeze(-2)).sum(dim=-1).flatten()[fixed.slots], rest


def build(config: QcbmConfig) -> Expert:
    circuit = Circuit(config)

    def discrepancy(p: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        """L and Kq; ``p`` is overwritten."""
        q = p.sub_(data["target"])
        kq = smoothed(config, data["sigmas"], q)
        return q @ kq, kq

    def slopes(p: Tensor, data: Data) -> tuple[Tensor, Tensor, Tensor]:
        loss, kq = discrepancy(p, data)
        return loss, 2 * kq, kq

    def value(theta: Tensor, data: Data) -> Tensor:
        return circuit.value(theta, data, lambda p, data: discrepancy(p, data)[0])

    def gradient(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        loss, theta_bar, _ = circuit.gradient(theta, data, slopes)
        return loss, theta_bar

    return Expert(value, gradient)
