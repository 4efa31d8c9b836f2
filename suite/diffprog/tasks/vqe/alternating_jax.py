"""Alternating circuits in JAX: `tfim` and `maxcut`. What is done is derived in ``alternating``."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffprog.circuits import tables
from diffprog.circuits.states_jax import Matrices, layers_of, rotate
from diffprog.tasks.vqe import counting, gates
from diffprog.tasks.vqe.hamiltonian_jax import Data, flipped
from diffprog.tasks.vqe.problem import VqeConfig, bonds, phase_weight

Phase = Callable[[Array, Array], Array]
Rotate = Callable[[Matrices, Array], Array]


def phased(turns: Array, state: Array) -> Array:
    """e^{−i turns} ∘ ψ, turns (2ⁿ,) real."""
    return jnp.exp(-1j * turns) * state


class Circuit:
    def __init__(self, config: VqeConfig) -> None:
        self.config, self.qubits, self.depth = config, config.qubits, config.depth

    def mixers(self, beta: Array) -> Matrices:
        """The matrices (p, 2ᵏ, 2ᵏ) of each group, from the angles β (p, n) of the qubits."""
        none = jnp.zeros_like(beta)
        return layers_of(jnp.stack([none, 2 * beta, none], axis=-1))

    def alike(self, beta: Array) -> Matrices:
        """The same angle β (p,) for all qubits."""
        return self.mixers(jnp.broadcast_to(beta[:, None], (self.depth, self.qubits)))

    def evolve(
        self,
        gamma: Array,
        layers: Matrices,
        diagonal: Array,
        kick: tuple[Array, Array] | None = None,
        phase: Phase = phased,
        rotate: Rotate = rotate,
    ) -> Array:
        """|+…+> through phases and mixers in turn; ``kick``: angles (p,) of one more diagonal (2ⁿ,)."""
        angles = jnp.zeros_like(gamma) if kick is None else kick[0]

        def step(state: Array, layer: tuple[Array, Array, Matrices]) -> tuple[Array, None]:
            angle, extra, matrices = layer
            turns = angle * diagonal if kick is None else angle * diagonal + extra * kick[1]
            return rotate(matrices, phase(turns, state)), None

        start = jnp.full(1 << self.qubits, 2 ** (-self.qubits / 2), layers[0].dtype)
        state, _ = jax.lax.scan(step, start, (gamma, angles, layers))
        return state

    def final(self, theta: Array, data: Data) -> Array:
        """ψ (2ⁿ,)."""
        gamma, beta = theta.reshape(2, -1)
        return self.evolve(gamma, self.alike(beta), data["diagonal"])

    def sweep_back(self, theta: Array, data: Data, pair: Array) -> Array:
        """dL/dθ (2p,) from the pair (ψ, λ), by un-applying the steps."""
        (gamma, beta), diagonal = theta.reshape(2, -1), data["diagonal"]

        def step_back(pair: Array, layer: tuple[Array, Matrices]) -> tuple[Array, Array]:
            angle, matrices = layer
            by_beta = jnp.vdot(pair[1], flipped(self.qubits, pair[0])).imag
            pair = rotate([matrix.mT.conj() for matrix in matrices], pair)
            by_gamma = jnp.vdot(pair[1], diagonal * pair[0]).imag
            return phased(-angle * diagonal, pair), 2 * jnp.stack([by_gamma, by_beta])

        _, slopes = jax.lax.scan(step_back, pair, (gamma, self.alike(beta)), reverse=True)
        return slopes.T.ravel()

    def shifted(self, theta: Array, data: Data, energy: Callable[[Array], Array]) -> Array:
        """Each gate e^{−iaP} on its own, dL/da = L(a + π/4) − L(a − π/4), and the parts of a parameter added up."""
        every, pairs = gates.every(self.config), bonds(self.config)
        gamma, beta = theta.reshape(2, -1)
        basis = jnp.arange(1 << self.qubits)
        table = jnp.asarray(
            np.stack([every.kinds, every.layers, every.qubits, *pairs[every.bonds].T], axis=1), jnp.int32
        )

        def part(gate: Array) -> Array:
            kind, layer, qubit, low, high = gate
            signs = (1 - 2 * ((basis >> low ^ basis >> high) & 1)).astype(theta.dtype)

            def run(angle: float) -> Array:
                of_phase = jnp.zeros_like(gamma).at[layer].set(jnp.where(kind == 0, angle, 0))
                of_mixer = jnp.zeros((self.depth, self.qubits), theta.dtype)
                of_mixer = of_mixer.at[layer, qubit].set(jnp.where(kind == 1, angle, 0))
                mixers = self.mixers(beta[:, None] + of_mixer)
                return energy(self.evolve(gamma, mixers, data["diagonal"], (of_phase, signs)))

            return run(jnp.pi / 4) - run(-jnp.pi / 4)

        at_once = max(1, tables.circuits_at_once(self.qubits, self.depth, theta.dtype.itemsize) // 2)
        found = jax.lax.map(part, table, batch_size=min(at_once, len(every)))
        weighed = jnp.where(table[:, 0] == 1, found, phase_weight(self.config) * found)
        return jax.ops.segment_sum(weighed, table[:, 0] * self.depth + table[:, 1], 2 * self.depth)

    def work(self, theta: Array, data: Data) -> dict[str, int]:
        gamma, beta = theta.reshape(2, -1)
        tally = counting.Tally()
        with jax.disable_jit():  # the scan's body then really runs once a layer
            self.evolve(gamma, self.alike(beta), data["diagonal"], None, tally.phasing(phased), tally.rotating(rotate))
        host = np.asarray(data["diagonal"]), np.asarray(data["bonds"])
        return tally.work(self.config, theta.size, *host)
