"""The least that a call must do; derived in this folder's README, under *Floor*."""

from __future__ import annotations

from diffprog.declaration import Demand
from diffprog.tasks.qcbm.problem import QcbmConfig, angles, layout

PHASE = 6
"""A complex product, for each amplitude."""
ROTATION = 4
"""ψ₀ − i t ψ₁ and ψ₁ − i t ψ₀ for each qubit: two products and two sums for each amplitude."""
OVERLAP = 4
"""Im λ*ψ and its sum, for each amplitude."""


def real_fft(length: int) -> int:
    """Of a power of two, by split radix: Sorensen et al., IEEE Trans. ASSP 35 (1987) 849."""
    return 2 * length * (length.bit_length() - 1) - 4 * length + 6


def kernel(config: QcbmConfig, bandwidths: int) -> int:
    """K q: on bits a product of 2 x 2 factors for each bandwidth, on integers two transforms, or the matrix."""
    size = 1 << config.qubits
    if config.kernel == "hamming":
        return bandwidths * 2 * config.qubits * size + (bandwidths - 1) * size
    return min(2 * real_fft(2 * size), 2 * size * size - size)


def discriminator(config: QcbmConfig) -> int:
    """L from p. Bits in Gray order change one at a time, so W1 x takes one sum a unit; W2·h a product and a sum."""
    return (1 << config.qubits) * (3 * config.hidden + 4)


def taught(config: QcbmConfig) -> int:
    """∂L/∂weights: r, W̄2 = hᵀr, z̄ = r W2 ∘ (1 − h²), and W̄1 and b̄1 by folding z̄ bit by bit."""
    return (1 << config.qubits) * (8 * config.hidden + 3)


def circuit(config: QcbmConfig) -> int:
    """Probabilities of one circuit: a product state, then d layers of one phase an amplitude and n rotations."""
    return (1 << config.qubits) * (config.depth * (PHASE + ROTATION * config.qubits) + 3)


def demand(config: QcbmConfig, method: str, operator: str, itemsize: int, bandwidths: int) -> Demand | None:
    """None for second derivatives."""
    if operator not in ("value", "gradient"):
        return None
    n, depth, size = config.qubits, config.depth, 1 << config.qubits
    parameters = layout(config).size
    state = 2 * itemsize * size
    loss = discriminator(config) if config.hidden else kernel(config, bandwidths) + 3 * size  # q = p − π and qᵀ(Kq)
    flops = circuit(config) + loss
    moved = itemsize * (parameters + size + 1)
    if operator == "value":
        return Demand(flops, moved, state, 2 * depth)
    moved += itemsize * parameters
    flops += taught(config) if config.hidden else 0
    if method == "parameter_shift":
        circuits = 2 * angles(config)
        return Demand(flops + circuits * (circuit(config) + 2 * size), moved, state, 2 * depth * (circuits + 1))
    layer = size * (PHASE + ROTATION * n)
    overlaps = (depth + 1) * n * OVERLAP * size
    if method == "adjoint":
        return Demand(flops + 3 * size + 2 * depth * layer + overlaps, moved, 2 * state, 4 * depth)
    return Demand(flops + 3 * size + depth * layer + overlaps, moved, (depth + 1) * state, 2)
