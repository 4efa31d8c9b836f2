"""The problems of parameterised circuits: variants, sizes, inputs, the work that they are.

Sources: Peruzzo et al., arXiv:1304.3061 (the variational eigensolver); Farhi, Goldstone, Gutmann, arXiv:1411.4028
(`maxcut`: the approximate optimisation algorithm); Wecker, Hastings, Troyer, arXiv:1507.08969 and Ho, Hsieh,
arXiv:1803.00026 (`tfim`: the Hamiltonian variational ansatz, exact at p = n/2); Kandala et al., arXiv:1704.05018
(`heisenberg`: layers of rotations and CNOTs).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffprog.circuits import tables
from diffprog.errors import UsageError
from diffprog.spec import Array, Arrays, Block, Layout
from diffprog.tasks.vqe import graphs


@dataclass(frozen=True)
class VqeConfig:
    """One problem: ``depth`` p ≥ 1 pairs of layers, or d ≥ 1 layers of CNOTs, on ``qubits`` n.

    Raises:
        UsageError: for numbers that make no such problem.
    """

    variant: str
    size: str
    qubits: int
    depth: int
    graph: str
    """Which qubits the Hamiltonian joins: "ring", or a name in ``graphs.GRAPHS``."""

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise UsageError(f"{self.variant} needs at least one layer, not {self.depth}")
        if self.graph == "ring" and (self.qubits < 4 or self.qubits % 2):
            raise UsageError(
                f"{self.variant} needs a ring of an even number of qubits, 4 at least, not {self.qubits}: "
                "an odd one is frustrated, and what is known of its energies is not what is checked here"
            )
        if self.graph != "ring" and self.qubits != int(graphs.GRAPHS[self.graph].max()) + 1:
            raise UsageError(f"the graph {self.graph} has not {self.qubits} vertices")

    @property
    def alternating(self) -> bool:
        """Whether the circuit is made of phases and mixers in turn; else it is of rotations and CNOTs."""
        return self.variant != "heisenberg"


_CONFIGS = (
    VqeConfig("tfim", "tiny", 4, 2, "ring"),
    VqeConfig("tfim", "small", 10, 5, "ring"),
    VqeConfig("tfim", "medium", 16, 8, "ring"),
    VqeConfig("tfim", "large", 20, 10, "ring"),
    VqeConfig("heisenberg", "tiny", 4, 3, "ring"),
    VqeConfig("heisenberg", "small", 8, 8, "ring"),
    VqeConfig("heisenberg", "medium", 12, 10, "ring"),
    VqeConfig("heisenberg", "large", 20, 10, "ring"),
    VqeConfig("maxcut", "tiny", 6, 1, "K3,3"),
    VqeConfig("maxcut", "small", 10, 4, "Petersen"),
    VqeConfig("maxcut", "medium", 16, 8, "Möbius-Kantor"),
    VqeConfig("maxcut", "large", 20, 10, "dodecahedron"),
)
_SIZES = {(config.variant, config.size): config for config in _CONFIGS}


def configure(variant: str, size: str) -> VqeConfig:
    try:
        return _SIZES[variant, size]
    except KeyError:
        raise UsageError(f"task vqe has no variant {variant!r} of size {size!r}") from None


def layout(config: VqeConfig) -> Layout:
    """γ and β of each pair of layers; or the angles of the rotations, layer by layer."""
    if config.alternating:
        return Layout((Block("gamma", (config.depth,)), Block("beta", (config.depth,))))
    return tables.layout(config.qubits, config.depth)


def bonds(config: VqeConfig) -> Array:
    """The pairs of qubits that the Hamiltonian joins: shape (m, 2), int64."""
    return graphs.ring(config.qubits) if config.graph == "ring" else graphs.GRAPHS[config.graph]


def phase_weight(config: VqeConfig) -> float:
    """D is this times Σ Z_iZ_j over the bonds, plus a constant."""
    return 1.0 if config.variant == "tfim" else -0.5


def diagonal(config: VqeConfig) -> Array:
    """D, whose phases an alternating circuit applies: ΣZ_iZ_j, or how many bonds are cut. Shape (2ⁿ,), float64."""
    pairs = bonds(config)
    total = np.zeros(2**config.qubits, dtype=np.int64)
    for pair in pairs:
        total += graphs.signs(pair, config.qubits)
    return np.asarray(total if config.variant == "tfim" else (len(pairs) - total) / 2, dtype=np.float64)


def draw(config: VqeConfig, seed: int) -> Arrays:
    """Inputs of a case.

    ``params`` (P,) is uniform on [0, 2π); ``bonds`` (m, 2), int64, are what the Hamiltonian joins. Alternating circuits
    have ``diagonal`` D (2ⁿ,); `heisenberg` has ``couplings`` J (n,), one a bond, and ``cnots`` (n, 2) and
    ``permutation`` (2ⁿ,), int64, the same CNOTs as one gather.
    """
    inputs: Arrays = {
        "params": np.random.default_rng(seed).uniform(0, 2 * np.pi, layout(config).size),
        "bonds": bonds(config),
    }
    if config.alternating:
        return inputs | {"diagonal": diagonal(config)}
    cnots = tables.ring(config.qubits)
    return inputs | {
        "couplings": np.ones(config.qubits),
        "cnots": cnots,
        "permutation": tables.permutation(cnots, config.qubits),
    }


def work(config: VqeConfig) -> dict[str, int]:
    """Gates of one evaluation of the circuit, and the terms of H. What a method repeats is the method's affair."""
    n, depth, joined = config.qubits, config.depth, len(bonds(config))
    rotations = depth * n if config.alternating else (3 * depth + 1) * n
    return {
        "parameters": layout(config).size,
        "rotations": rotations,
        "entanglers": depth * joined if config.alternating else depth * n,
        "layers": depth if config.alternating else depth + 1,
        "qubits": n,
        "bonds": joined,
    }


def extent(config: VqeConfig) -> tuple[str, float]:
    """The state vector: every layer passes over it."""
    return "2ⁿ amplitudes", float(1 << config.qubits)


def memory(config: VqeConfig, method: str, itemsize: int) -> int:
    """Counted in complex states of 2ⁿ amplitudes.

    All methods hold some 12: ψ, λ = Hψ, what becomes of them, temporaries. ``reverse`` keeps a state for each step and
    each group's product, and one for each bond's exchange of `heisenberg`; ``adjoint`` keeps nothing;
    ``parameter_shift`` a chunk of circuits.
    """
    n, depth = config.qubits, config.depth
    state = 2 * itemsize << n
    parts = tables.groups(n)
    matrices = 4 * 2 * itemsize * (depth + 1) * sum(1 << 2 * len(part) for part in parts)
    total = 12 * state + matrices + 4 * 8 * (1 << n)
    if method == "reverse":
        steps = (depth + 2) * (len(parts) + (3 if config.alternating else 1))
        total += (steps + (0 if config.alternating else n)) * state
    elif method == "parameter_shift":
        together = min(2 * shifts(config), tables.circuits_at_once(n, depth, itemsize))
        total += together * tables.circuit_bytes(n, depth, itemsize)
    return total


def shifts(config: VqeConfig) -> int:
    """How many gates ``parameter_shift`` shifts, each on its own."""
    if config.alternating:
        return config.depth * (len(bonds(config)) + config.qubits)
    return layout(config).size
