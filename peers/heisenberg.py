"""The circuit of `vqe`'s variant `heisenberg`, gate by gate, as simulators of gates are told it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, Any]


def gates(qubits: int, depth: int, cnots: Any) -> Iterator[tuple[str, int, int]]:
    """The gates in time order: ``("rz" or "rx", k, qubit)``, which turns by θ_k, or ``("cnot", control, target)``.

    Rz Rx Rz on each qubit without the first Rz of layer 0 and the last of layer d; CNOTs after each layer but the last.
    """
    k = 0
    for layer in range(depth + 1):
        for qubit in range(qubits):
            kinds = ["rz"] * (layer > 0) + ["rx"] + ["rz"] * (layer < depth)
            for kind in kinds:
                yield kind, k, qubit
                k += 1
        if layer < depth:
            for control, target in np.asarray(cnots).tolist():
                yield "cnot", control, target


def terms(inputs: Arrays) -> list[tuple[float, int, int]]:
    """H = Σ J (XX + YY + ZZ) as (J, i, j), one a bond."""
    joined = zip(inputs["couplings"].tolist(), inputs["bonds"].tolist(), strict=True)
    return [(coupling, i, j) for coupling, (i, j) in joined]
