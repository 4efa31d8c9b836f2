"""The least that a call must do; derived in this folder's README, under *Floor*."""

from __future__ import annotations

from diffprog.declaration import Demand
from diffprog.tasks.vqe.problem import VqeConfig, bonds, layout, shifts

PHASE = 6
"""A complex product, for each amplitude."""
ROTATION = 4
"""ψ₀ − i t ψ₁ and ψ₁ − i t ψ₀ for each qubit: two products and two sums for each amplitude."""
FLIP = 2
"""A complex sum for each amplitude."""
OVERLAP = 4
"""Im λ*ψ and its sum, for each amplitude."""


def circuit(config: VqeConfig) -> int:
    """For each amplitude: layers of one phase and n rotations; nothing is turned before the first."""
    n, depth = config.qubits, config.depth
    if config.alternating:
        return (depth - 1) * PHASE + depth * ROTATION * n
    return depth * (PHASE + ROTATION * n)


def terms(config: VqeConfig) -> int:
    """For each amplitude: what moves it in H. A bond's exchange moves half of them."""
    return {"tfim": FLIP * config.qubits, "heisenberg": len(bonds(config)), "maxcut": 0}[config.variant]


def energy(config: VqeConfig) -> int:
    """For each amplitude: |ψ|², D|ψ|² and its sum, and one real product a pair that H exchanges."""
    return 5 + terms(config)


def slopes(config: VqeConfig) -> int:
    """For each amplitude: the inner products with λ, of all layers."""
    n, depth = config.qubits, config.depth
    if config.alternating:
        return depth * (OVERLAP + 1 + FLIP * n + OVERLAP)
    return (depth + 1) * n * OVERLAP


def demand(config: VqeConfig, method: str, operator: str, itemsize: int) -> Demand | None:
    """None for second derivatives."""
    if operator not in ("value", "gradient"):
        return None
    size, depth, parameters = 1 << config.qubits, config.depth, layout(config).size
    state = 2 * itemsize * size
    moved = itemsize * (parameters + 1 + (size if config.alternating else config.qubits))
    value = size * (circuit(config) + energy(config))
    if operator == "value":
        return Demand(value, moved, state, 2 * depth)
    moved += itemsize * parameters
    if method == "parameter_shift":
        circuits = 2 * shifts(config)
        return Demand(value * (1 + circuits), moved, state, 2 * depth * (circuits + 1))
    image = terms(config) + 2 + OVERLAP  # Hψ, and L from it
    back = circuit(config) * (2 if method == "adjoint" else 1)
    flops = size * (circuit(config) + image + back + slopes(config))
    if method == "adjoint":
        return Demand(flops, moved, 2 * state, 4 * depth)
    return Demand(flops, moved, (depth + 1) * state, 2)
