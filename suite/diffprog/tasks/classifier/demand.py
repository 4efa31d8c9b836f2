"""The least that a call must do; derived in this folder's README, under *Floor*."""

from __future__ import annotations

from diffprog.declaration import Demand
from diffprog.tasks.classifier.problem import ClassifierConfig, layout

PHASE = 6
"""A complex product, for each amplitude."""
ROTATION = 4
"""ψ₀ − i t ψ₁ and ψ₁ − i t ψ₀ for each qubit: two products and two sums for each amplitude."""
LAST = 6
"""|ψ₀ + r ψ₁|² and its sum, for each pair of amplitudes 12: the last layer, of which one qubit is measured."""
OVERLAP = 4
"""Im λ*ψ and its sum, for each amplitude."""


def layer(config: ClassifierConfig) -> int:
    """For each amplitude: one phase and n rotations, and once more for the encoding."""
    return (1 if config.uploads_images else 2) * (PHASE + ROTATION * config.qubits)


def circuit(config: ClassifierConfig) -> int:
    """For each amplitude: layer 0 turns a real image, |0…0> becomes a product state; then d layers, the last for ℓ."""
    first = 1 + ROTATION * (config.qubits - 1) if config.uploads_images else 0
    return first + (config.depth - 1) * layer(config) + LAST


def seen(config: ClassifierConfig) -> int:
    """The parameters that ℓ depends on: in the last layer those of the qubit that is measured, without the last Rz."""
    idle = config.qubits - 1
    return layout(config).size - (2 * idle if config.uploads_images else 3 * idle + 1)


def demand(config: ClassifierConfig, method: str, operator: str, itemsize: int) -> Demand | None:
    """None for second derivatives."""
    if operator not in ("value", "gradient"):
        return None
    n, depth, batch = config.qubits, config.depth, config.samples
    size, parameters = batch << n, layout(config).size
    state = 2 * itemsize << n  # a sample's: one after the other, they are the only one in the cache
    given = (1 << n) if config.uploads_images else 2
    moved = itemsize * (parameters + batch * (given + 1) + 1)
    flops = size * circuit(config)
    if operator == "value":
        return Demand(flops, moved, state, 2 * depth * batch)
    moved += itemsize * parameters
    if method == "parameter_shift":
        circuits = 2 * seen(config)
        return Demand(flops * (1 + circuits), moved, state, 2 * depth * batch * (circuits + 1))
    back = (depth - 1) * layer(config) + LAST
    overlaps = OVERLAP * (n * depth + 1)
    if method == "adjoint":
        return Demand(flops + size * (2 * back + overlaps), moved, 2 * state, 4 * depth * batch)
    return Demand(flops + size * (back + overlaps), moved, (depth + 1) * state, 2 * batch)
