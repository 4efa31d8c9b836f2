"""The circuit as the Born machine's losses see it: its distribution, what shifted angles make of it, the work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from diffprog.circuits import tables
from diffprog.circuits.states import (
    Matrices,
    angle_table,
    by_shifts,
    entangle,
    evolve,
    layers_of,
    probabilities,
    rotate,
    sweep_back,
)
from diffprog.spec import Array, Arrays
from diffprog.tasks.qcbm.problem import QcbmConfig

Back = Callable[[Array], Array]
"""From the last state's cotangent λ (2ⁿ,), dL = 2 Re <λ|dψ>, to dL/dangles (A,). To be called once."""


def _layers(config: QcbmConfig, angles: Array) -> list[Matrices]:
    return layers_of(angle_table(config.qubits, config.depth, angles), tables.groups(config.qubits))


def distribution(config: QcbmConfig, angles: Array, data: Arrays) -> Array:
    """Its p (..., 2ⁿ) at angles (..., A)."""
    (state,) = deque(evolve(_layers(config, angles), data["permutation"]), maxlen=1)
    return probabilities(state)


def forwards(config: QcbmConfig, method: str, angles: Array, data: Arrays) -> tuple[Array, Back]:
    """ψ (2ⁿ,) and the way back, on which the states before it are kept, or un-applied as λ is (``adjoint``)."""
    table, gather = angle_table(config.qubits, config.depth, angles), data["permutation"]
    layers = layers_of(table, tables.groups(config.qubits))
    kept = deque(evolve(layers, gather), maxlen=1 if method == "adjoint" else None)

    def back(cotangent: Array) -> Array:
        derivatives = sweep_back(table, layers, gather, kept, cotangent)
        return np.asarray(derivatives.ravel()[tables.angle_slots(config.qubits, config.depth)])

    return kept[-1], back


def shifted(config: QcbmConfig, angles: Array, data: Arrays, weights: Array) -> Array:
    """``weights`` · (p(θ + π/2 e_k) − p(θ − π/2 e_k)) of each angle, (A,), from 2A circuits, a chunk at a time."""

    def slope(above: Array, below: Array) -> Array:
        return np.asarray((distribution(config, above, data) - distribution(config, below, data)) @ weights)

    return by_shifts(slope, angles, tables.circuits_at_once(config.qubits, config.depth, angles.itemsize) // 2)


def work(config: QcbmConfig, angles: Array, data: Arrays, parameters: int) -> dict[str, int]:
    """Counts the gates that one circuit really passes through."""
    tally, layers = tables.Tally(), _layers(config, angles)
    deque(evolve(layers, data["permutation"], tally.rotating(rotate), tally.entangling(entangle)), maxlen=0)
    rotations = tables.angle_slots(config.qubits, config.depth).size
    return tally.work(parameters, rotations, data["cnots"], data["permutation"])
