"""The least that a call must do; derived in this folder's README, under *Floor*."""

from __future__ import annotations

from diffprog.declaration import Demand
from diffprog.tasks.flow.problem import FlowConfig


def demand(config: FlowConfig, method: str, operator: str, itemsize: int) -> Demand | None:
    """Matrix products alone. None for ``library``, which chooses its own steps, and for second derivatives."""
    if method == "library" or operator not in ("value", "gradient"):
        return None
    d, batch, steps = config.dim, config.batch, config.steps
    stages = 4 * steps
    if config.variant == "quadratic":
        wide, parameters, given = d, d * d, batch * d
        layer, products, divergence, tape = 2 * batch * d * d, 1, 0, batch * d
    else:
        wide = config.hidden
        parameters = wide * (d + 2 if config.variant == "density" else d + 1)
        given = batch * d + (d * d if config.variant == "ising" else 0)
        layer, products, divergence, tape = 2 * batch * d * wide, 2, 2 * batch * wide, batch * (d + wide)
    flops: float = stages * (products * layer + divergence)
    if config.variant == "ising":
        flops += 2 * batch * d * d
    moved = parameters + given + 1
    if operator == "value":  # θ's matrix at every stage
        return Demand(flops, itemsize * moved, itemsize * d * wide, stages - 1)
    # Two transposed products for each product; but nobody asks for the cotangent of the batch.
    flops += stages * (2 * products * layer + divergence) - layer
    if method == "checkpointed":
        flops += steps * (7 if products == 2 else 3) * layer
    elif method == "backsolve":
        flops += stages * products * layer - layer  # nor where the last step back would lead
    moved += parameters
    if method == "discrete":  # written on the way there, read on the way back
        return Demand(flops, itemsize * moved, itemsize * stages * tape, 2)
    return Demand(flops, itemsize * moved, itemsize * d * wide, 2 * stages - 1)
