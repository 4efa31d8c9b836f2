"""Index tables of the circuit that all Python backends share: host-side, NumPy, nothing of a framework.

Qubit 0 is the least significant bit of a basis index. The angles of a circuit of depth d are a table (d+1, n, 3):
layer, qubit, and the gates Rz, Rx, Rz in the order in which they act. The first Rz of layer 0 and the last Rz of layer
d are absent: their angles are zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from diffprog.spec import Array, Block, Layout

LARGEST_GROUP = 5
"""Qubits whose rotations are merged into one matrix: larger ones cost more to build and to apply than they save in
passes over the state."""
CHUNK_BYTES = 256 * 2**20
"""What the circuits that parameter_shift runs at the same time may hold together."""


def angle_slots(qubits: int, depth: int) -> Array:
    """Where the components of θ lie in the flattened angle table: shape ((3d+1)n,), int64."""
    present = np.ones((depth + 1, qubits, 3), dtype=bool)
    present[0, :, 0] = False
    present[depth, :, 2] = False
    return np.flatnonzero(present)


def layout(qubits: int, depth: int) -> Layout:
    """Of θ: layer by layer, each (qubit, gate); the first and the last layer lack one Rz a qubit."""
    gates = [2, *[3] * (depth - 1), 2]
    return Layout(tuple(Block(f"layer{layer}", (qubits, count)) for layer, count in enumerate(gates)))


def permutation(cnots: Array, qubits: int) -> Array:
    """The (control, target) pairs (m, 2), applied in order, as one gather: shape (2ⁿ,), int64.

    One CNOT is |x> → |c(x)>, so ψ'[y] = ψ[c(y)], c being its own inverse; c₁ before c₂ is ψ''[y] = ψ[c₁(c₂(y))].
    """
    basis = np.arange(2**qubits)
    gather = basis
    for control, target in cnots:
        gather = gather[basis ^ ((basis >> control & 1) << target)]
    return gather


@cache
def groups(qubits: int) -> tuple[range, ...]:
    """The qubits cut into consecutive groups of nearly equal size, the least significant first."""
    count = math.ceil(qubits / LARGEST_GROUP)
    edges = [round(qubits * k / count) for k in range(count + 1)]  # in numbers that PyTorch's compiler sees through
    return tuple(range(a, b) for a, b in pairwise(edges))


@cache
def flips(qubits: int) -> Array:
    """Σ_q X_q of k qubits: shape (2ᵏ, 2ᵏ), float64."""
    row = np.arange(2**qubits)
    matrix = np.zeros((2**qubits, 2**qubits))
    for qubit in range(qubits):
        matrix[row, row ^ 1 << qubit] = 1
    return matrix


@cache
def pauli_elements(qubits: int) -> tuple[Array, Array]:
    """Each Pauli matrix P on one of k qubits as tr(P R) = Σ_a coefficient[a] · R.ravel()[index[a]].

    A row of P has one element, so of R, of shape (2ᵏ, 2ᵏ), only 2ᵏ elements count. Returns index, int64, and
    coefficient, complex128, both of shape (k, 3, 2ᵏ): qubit, axis X Y Z, row.
    """
    row = np.arange(2**qubits)
    bit = 1 << np.arange(qubits)[:, None]
    sign = np.where(row & bit, -1, 1)
    flipped, same = row * 2**qubits + (row ^ bit), np.broadcast_to(row * 2**qubits + row, sign.shape)
    return np.stack([flipped, flipped, same], axis=1), np.stack([np.ones_like(sign), 1j * sign, sign], axis=1)


def ring(qubits: int) -> Array:
    """(0,1)(2,3)…, then (1,2)(3,4)…(n−1,0): shape (n, 2), int64. One qubit has no pair."""
    first = [*range(0, qubits, 2), *range(1, qubits, 2)] if qubits > 1 else []
    return np.array([(i, (i + 1) % qubits) for i in first], dtype=np.int64).reshape(-1, 2)


def circuit_bytes(qubits: int, depth: int, itemsize: int, samples: int = 1) -> int:
    """What one circuit of a batch holds: eight states a sample or so, and twice the merged matrices of its layers."""
    matrices = (depth + 1) * sum(1 << 2 * len(group) for group in groups(qubits))
    return 2 * itemsize * (8 * (samples << qubits) + 2 * matrices)


def circuits_at_once(qubits: int, depth: int, itemsize: int, samples: int = 1) -> int:
    """How many circuits ``parameter_shift`` runs together: what fits in CHUNK_BYTES, but at least one pair."""
    return max(2, CHUNK_BYTES // circuit_bytes(qubits, depth, itemsize, samples))


@dataclass
class Tally:
    """Counts the layers that a circuit really passes through."""

    rotation_layers: int = 0
    cnot_layers: int = 0
    qubits: int = 0

    def rotating(self, rotate: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def counted(matrices: Any, state: Any) -> Any:
            self.rotation_layers += 1
            self.qubits = int(state.shape[-1]).bit_length() - 1
            return rotate(matrices, state)

        return counted

    def entangling(self, entangle: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def counted(state: Any, gather: Any) -> Any:
            self.cnot_layers += 1
            return entangle(state, gather)

        return counted

    def work(self, parameters: int, rotations: int, cnots: Array, gather: Array) -> dict[str, int]:
        """Counts of one circuit: ``parameters`` and ``rotations`` are given, the rest is what was passed through.

        Raises:
            ValueError: if ``gather``, which the layers apply, is not the composition of ``cnots``: the count would lie.
        """
        if not np.array_equal(permutation(cnots, self.qubits), gather):
            raise ValueError("the permutation is not the composition of the CNOTs")
        return {
            "parameters": parameters,
            "rotations": rotations,
            "cnots": self.cnot_layers * len(cnots),
            "layers": self.rotation_layers,
            "qubits": self.qubits,
        }
