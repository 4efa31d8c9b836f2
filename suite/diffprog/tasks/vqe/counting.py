"""Counts the steps that an alternating circuit really takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffprog.spec import Array
from diffprog.tasks.vqe.problem import VqeConfig, diagonal


@dataclass
class Tally:
    phases: int = 0
    mixers: int = 0
    qubits: int = 0

    def phasing(self, phase: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def counted(turns: Any, state: Any) -> Any:
            self.phases += 1
            return phase(turns, state)

        return counted

    def rotating(self, rotate: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def counted(matrices: Any, state: Any) -> Any:
            self.mixers += 1
            self.qubits = int(state.shape[-1]).bit_length() - 1
            return rotate(matrices, state)

        return counted

    def work(self, config: VqeConfig, parameters: int, phases: Array, bonds: Array) -> dict[str, int]:
        """The invariants of ``problem.work``.

        Raises:
            ValueError: if ``phases`` D, which the circuit applies, is not that of ``bonds``: the count would lie.
        """
        if not np.array_equal(diagonal(config), phases):
            raise ValueError("the phases are not those of the bonds")
        return {
            "parameters": parameters,
            "rotations": self.mixers * self.qubits,
            "entanglers": self.phases * len(bonds),
            "layers": self.mixers,
            "qubits": self.qubits,
            "bonds": len(bonds),
        }
