"""The gates of an alternating circuit one by one, as ``parameter_shift`` shifts them. Host-side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from diffprog.spec import Array
from diffprog.tasks.vqe.problem import VqeConfig, bonds


@dataclass(frozen=True)
class Gates:
    """Gates e^{−iaP}, one an entry, int64: ``kinds`` 0 (P = Z_iZ_j, of a phase) or 1 (P = X, of a mixer).

    ``layers`` is where it acts; ``bonds`` the number of its bond, ``qubits`` its qubit; 0 for the other kind's.
    """

    depth: int
    width: int
    kinds: Array
    layers: Array
    bonds: Array
    qubits: Array

    def __len__(self) -> int:
        return len(self.kinds)

    def part(self, start: int, stop: int) -> Gates:
        fields = (field[start:stop] for field in (self.kinds, self.layers, self.bonds, self.qubits))
        return Gates(self.depth, self.width, *fields)

    @property
    def kicks(self) -> Array:
        """1 where a gate of a phase is: shape (gates, p), int64."""
        return np.asarray((1 - self.kinds)[:, None] * (self.layers[:, None] == np.arange(self.depth)))

    def mixed(self, kind: Any) -> Array:
        """1 where a gate of a mixer is: shape (gates, p, n)."""
        here = self.kinds[:, None] * (self.layers[:, None] == np.arange(self.depth))
        return np.asarray(here[:, :, None] * (self.qubits[:, None, None] == np.arange(self.width)), dtype=kind)


def every(config: VqeConfig) -> Gates:
    """All gates, those of the phases first, layer by layer."""
    p, n, m = config.depth, config.qubits, len(bonds(config))
    none = np.zeros(p * m, np.int64), np.zeros(p * n, np.int64)
    return Gates(
        p,
        n,
        np.repeat([0, 1], [p * m, p * n]),
        np.concatenate([np.repeat(np.arange(p), m), np.repeat(np.arange(p), n)]),
        np.concatenate([np.tile(np.arange(m), p), none[1]]),
        np.concatenate([none[0], np.tile(np.arange(n), p)]),
    )
