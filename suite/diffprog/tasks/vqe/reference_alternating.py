"""The reference on alternating circuits: `tfim` and `maxcut`."""

from __future__ import annotations

from collections import deque
from functools import partial

import numpy as np

from diffprog.circuits import tables
from diffprog.circuits.states import probabilities, rotate
from diffprog.spec import Array, Arrays, Functions
from diffprog.tasks.vqe import counting, gates, graphs
from diffprog.tasks.vqe.alternating import (
    alike,
    evolve,
    evolve_along,
    mixers,
    phased,
    sweep_back,
    sweep_back_along,
    turns_of,
)
from diffprog.tasks.vqe.hamiltonian import apply, expectation
from diffprog.tasks.vqe.problem import VqeConfig, phase_weight


def build(config: VqeConfig, method: str) -> Functions:
    n, depth, weight = config.qubits, config.depth, phase_weight(config)

    def final(theta: Array, data: Arrays) -> Array:
        gamma, beta = theta.reshape(2, -1)
        (state,) = deque(evolve(turns_of(gamma, data["diagonal"]), alike(n, beta)), maxlen=1)
        return state

    def value(theta: Array, data: Arrays) -> Array:
        state = final(theta, data)
        return expectation(state, apply(config, data, state))

    def reverse(theta: Array, data: Arrays) -> tuple[Array, Array]:
        """Carries λ = Hψ backwards: dL = 2 Re <λ|dψ>. ψ is kept, or un-applied as λ is (``adjoint``)."""
        (gamma, beta), diagonal = theta.reshape(2, -1), data["diagonal"]
        layers = alike(n, beta)
        states = evolve(turns_of(gamma, diagonal), layers)
        kept = list(deque(states, maxlen=1)) if method == "adjoint" else list(states)
        image = apply(config, data, kept[-1])
        return expectation(kept[-1], image), sweep_back(gamma, layers, diagonal, kept, image)

    def shifted(theta: Array, data: Arrays, chosen: gates.Gates, sign: int) -> Array:
        """L (B,) of circuits in which one gate has another angle: each of the chosen in turn."""
        gamma, beta = theta.reshape(2, -1)

        def turned(angle: Array, own: Array) -> Array:
            return np.asarray(angle * data["diagonal"] + own)

        turn = (sign * np.pi / 4 * chosen.kicks).astype(theta.dtype)
        joined = np.stack([graphs.signs(data["bonds"][bond], n) for bond in chosen.bonds]).astype(theta.dtype)
        turns = [partial(turned, gamma[layer], turn[:, layer, None] * joined) for layer in range(depth)]
        mixed = (sign * np.pi / 4 * chosen.mixed(theta.dtype)).astype(theta.dtype)
        (state,) = deque(evolve(turns, mixers(beta[:, None] + mixed)), maxlen=1)
        return expectation(state, apply(config, data, state))

    def parameter_shift(theta: Array, data: Arrays) -> tuple[Array, Array]:
        """Each gate e^{−iaP} on its own, dL/da = L(a + π/4) − L(a − π/4), and the parts of a parameter added up."""
        every = gates.every(config)
        at_once = tables.circuits_at_once(n, depth, theta.itemsize) // 2
        slopes = np.zeros((2, depth), theta.dtype)
        for start in range(0, len(every), at_once):
            chosen = every.part(start, start + at_once)
            parts = shifted(theta, data, chosen, 1) - shifted(theta, data, chosen, -1)
            np.add.at(slopes, (chosen.kinds, chosen.layers), np.where(chosen.kinds, 1, weight) * parts)
        return value(theta, data), slopes.ravel()

    def jvp(theta: Array, data: Arrays, v: Array) -> tuple[Array, Array]:
        """L and dL/dθ·v = 2 Re <Hψ|ψ̇>; no state is kept."""
        layers = alike(n, theta.reshape(2, -1)[1])
        ((psi, psi_dot),) = deque(evolve_along(theta, v, layers, data["diagonal"]), maxlen=1)
        image = apply(config, data, psi)
        return expectation(psi, image), 2 * expectation(psi_dot, image)

    def hvp(theta: Array, data: Arrays, v: Array) -> tuple[Array, Array]:
        """L and d²L/dθ²·v (2p,), with λ̇ = Hψ̇; ψ and ψ̇ of all steps are kept."""
        layers, diagonal = alike(n, theta.reshape(2, -1)[1]), data["diagonal"]
        kept = list(evolve_along(theta, v, layers, diagonal))
        psi, psi_dot = kept[-1]
        bar, bar_dot = apply(config, data, psi), apply(config, data, psi_dot)
        loss = expectation(psi, bar)
        return loss, sweep_back_along(theta, v, layers, diagonal, kept, bar, bar_dot)

    def outputs(theta: Array, data: Arrays) -> Arrays:
        return {"distribution": probabilities(final(theta, data))}

    def work(theta: Array, data: Arrays) -> dict[str, int]:
        gamma, beta = theta.reshape(2, -1)
        tally = counting.Tally()
        turns = turns_of(gamma, data["diagonal"])
        deque(evolve(turns, alike(n, beta), tally.phasing(phased), tally.rotating(rotate)), maxlen=0)
        return tally.work(config, theta.size, data["diagonal"], data["bonds"])

    gradient = parameter_shift if method == "parameter_shift" else reverse
    if method != "reverse":
        return Functions(value, gradient, outputs, work, made_with="hand")
    return Functions(value, gradient, outputs, work, made_with="hand", jvp=jvp, hvp=hvp)
