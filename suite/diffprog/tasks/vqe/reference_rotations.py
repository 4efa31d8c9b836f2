"""The reference on layers of rotations and CNOTs: `heisenberg`. The circuit's part is in ``circuits``."""

from __future__ import annotations

from collections import deque

import numpy as np

from diffprog.circuits import second, tables
from diffprog.circuits.states import (
    angle_table,
    by_shifts,
    entangle,
    evolve,
    layers_of,
    probabilities,
    rotate,
    sweep_back,
)
from diffprog.spec import Array, Arrays, Functions
from diffprog.tasks.vqe.hamiltonian import apply, expectation
from diffprog.tasks.vqe.problem import VqeConfig


def build(config: VqeConfig, method: str) -> Functions:
    n, depth = config.qubits, config.depth
    slots, parts = tables.angle_slots(n, depth), tables.groups(n)

    def final(theta: Array, data: Arrays) -> Array:
        (state,) = deque(evolve(layers_of(angle_table(n, depth, theta), parts), data["permutation"]), maxlen=1)
        return state

    def energies(theta: Array, data: Arrays) -> Array:
        """L of each of θ (..., P)."""
        state = final(theta, data)
        return expectation(state, apply(config, data, state))

    def reverse(theta: Array, data: Arrays) -> tuple[Array, Array]:
        """Carries λ = Hψ backwards: dL = 2 Re <λ|dψ>. ψ is kept, or un-applied as λ is (``adjoint``)."""
        table, gather = angle_table(n, depth, theta), data["permutation"]
        layers = layers_of(table, parts)
        kept = deque(evolve(layers, gather), maxlen=1 if method == "adjoint" else None)
        image = apply(config, data, kept[-1])
        return expectation(kept[-1], image), sweep_back(table, layers, gather, kept, image).ravel()[slots]

    def parameter_shift(theta: Array, data: Arrays) -> tuple[Array, Array]:
        """dL/dθ_k = ½(L(θ + π/2 e_k) − L(θ − π/2 e_k)): θ_k/2 multiplies a Pauli matrix. A chunk at a time."""

        def slope(above: Array, below: Array) -> Array:
            return np.asarray((energies(above, data) - energies(below, data)) / 2)

        pairs = tables.circuits_at_once(n, depth, theta.itemsize) // 2
        return energies(theta, data), by_shifts(slope, theta, pairs)

    def jvp(theta: Array, data: Arrays, v: Array) -> tuple[Array, Array]:
        """L and dL/dθ·v = 2 Re <Hψ|ψ̇>; no state is kept."""
        along = second.path(n, depth, theta, v)
        ((psi, psi_dot),) = deque(second.evolve(along, data["permutation"]), maxlen=1)
        image = apply(config, data, psi)
        return expectation(psi, image), 2 * expectation(psi_dot, image)

    def hvp(theta: Array, data: Arrays, v: Array) -> tuple[Array, Array]:
        """L and d²L/dθ²·v (P,), with λ̇ = Hψ̇; ψ and ψ̇ of all layers are kept."""
        along, gather = second.path(n, depth, theta, v), data["permutation"]
        kept = list(second.evolve(along, gather))
        psi, psi_dot = kept[-1]
        bar, bar_dot = apply(config, data, psi), apply(config, data, psi_dot)
        loss = expectation(psi, bar)
        return loss, second.sweep_back(along, gather, kept, bar, bar_dot).ravel()[slots]

    def outputs(theta: Array, data: Arrays) -> Arrays:
        return {"distribution": probabilities(final(theta, data))}

    def work(theta: Array, data: Arrays) -> dict[str, int]:
        tally, layers = tables.Tally(), layers_of(angle_table(n, depth, theta), parts)
        deque(evolve(layers, data["permutation"], tally.rotating(rotate), tally.entangling(entangle)), maxlen=0)
        found = tally.work(theta.size, slots.size, data["cnots"], data["permutation"])
        return found | {"entanglers": found.pop("cnots"), "bonds": len(data["bonds"])}

    gradient = parameter_shift if method == "parameter_shift" else reverse
    if method != "reverse":
        return Functions(energies, gradient, outputs, work, made_with="hand")
    return Functions(energies, gradient, outputs, work, made_with="hand", jvp=jvp, hvp=hvp)
