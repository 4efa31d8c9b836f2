"""Layers of rotations and CNOTs in JAX: `heisenberg`."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from jax import Array

from diffprog.circuits import tables
from diffprog.circuits.states_jax import angle_table, by_shifts, entangle, evolve, layers_of, rotate, sweep_back
from diffprog.tasks.vqe.hamiltonian_jax import Data
from diffprog.tasks.vqe.problem import VqeConfig


class Circuit:
    def __init__(self, config: VqeConfig) -> None:
        self.qubits, self.depth = config.qubits, config.depth
        self.slots = tables.angle_slots(self.qubits, self.depth)

    def table(self, theta: Array) -> Array:
        return angle_table(self.qubits, self.depth, theta)

    def final(self, theta: Array, data: Data) -> Array:
        """ψ (2ⁿ,)."""
        return evolve(layers_of(self.table(theta)), data["permutation"])

    def sweep_back(self, theta: Array, data: Data, pair: Array) -> Array:
        """dL/dθ (P,) from the pair (ψ, λ)."""
        table = self.table(theta)
        return sweep_back(table, layers_of(table), data["permutation"], pair).ravel()[self.slots]

    def shifted(self, theta: Array, data: Data, energy: Callable[[Array], Array]) -> Array:
        """dL/dθ_k = ½(L(θ + π/2 e_k) − L(θ − π/2 e_k)): θ_k/2 multiplies a Pauli matrix. A chunk at a time."""

        def slope(above: Array, below: Array) -> Array:
            return (energy(self.final(above, data)) - energy(self.final(below, data))) / 2

        return by_shifts(slope, theta, tables.circuits_at_once(self.qubits, self.depth, theta.dtype.itemsize) // 2)

    def work(self, theta: Array, data: Data) -> dict[str, int]:
        tally, gather = tables.Tally(), data["permutation"]
        with jax.disable_jit():  # the scan's body then really runs once a layer
            evolve(layers_of(self.table(theta)), gather, tally.rotating(rotate), tally.entangling(entangle))
        found = tally.work(theta.size, self.slots.size, np.asarray(data["cnots"]), np.asarray(gather))
        return found | {"entanglers": found.pop("cnots"), "bonds": len(data["bonds"])}
