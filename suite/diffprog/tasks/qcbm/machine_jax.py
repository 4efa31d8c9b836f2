"""The circuit as the Born machine's losses see it, in JAX; see ``machine``.

Shapes as in ``circuits.states``: states are (..., 2ⁿ), complex, leading axes a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffprog.circuits import tables
from diffprog.circuits.states_jax import (
    angle_table,
    by_shifts,
    entangle,
    evolve,
    layers_of,
    probabilities,
    rotate,
    sweep_back,
)
from diffprog.tasks.qcbm.problem import QcbmConfig

Data = dict[str, Array]
Back = Callable[[Array], Array]
"""From the last state's cotangent λ (2ⁿ,), dL = 2 Re <λ|dψ>, to dL/dangles (A,)."""


def distribution(config: QcbmConfig, angles: Array, data: Data) -> Array:
    """Its p (2ⁿ,) at angles (A,)."""
    return probabilities(evolve(layers_of(angle_table(config.qubits, config.depth, angles)), data["permutation"]))


def forwards(config: QcbmConfig, angles: Array, data: Data) -> tuple[Array, Back]:
    """ψ (2ⁿ,) and the way back, on which the gates are un-applied from ψ and λ together."""
    table, gather = angle_table(config.qubits, config.depth, angles), data["permutation"]
    layers = layers_of(table)
    psi = evolve(layers, gather)

    def back(cotangent: Array) -> Array:
        derivatives = sweep_back(table, layers, gather, jnp.stack([psi, cotangent]))
        return derivatives.ravel()[tables.angle_slots(config.qubits, config.depth)]

    return psi, back


def shifted(config: QcbmConfig, angles: Array, data: Data, weights: Array) -> Array:
    """``weights`` · (p(θ + π/2 e_k) − p(θ − π/2 e_k)) of each angle, (A,), from 2A circuits, a chunk at a time."""

    def slope(above: Array, below: Array) -> Array:
        return (distribution(config, above, data) - distribution(config, below, data)) @ weights

    return by_shifts(slope, angles, tables.circuits_at_once(config.qubits, config.depth, angles.dtype.itemsize) // 2)


def work(config: QcbmConfig, angles: Array, data: Data, parameters: int) -> dict[str, int]:
    """Counts the gates that one circuit really passes through."""
    tally, gather = tables.Tally(), data["permutation"]
    layers = layers_of(angle_table(config.qubits, config.depth, angles))
    with jax.disable_jit():  # the scan's body then really runs once a layer
        evolve(layers, gather, tally.rotating(rotate), tally.entangling(entangle))
    rotations = tables.angle_slots(config.qubits, config.depth).size
    return tally.work(parameters, rotations, np.asarray(data["cnots"]), np.asarray(gather))
