"""The least that a call must do; derived in this folder's README, under *Floor*."""

from __future__ import annotations

from diffprog.declaration import Demand
from diffprog.tasks.trg import lattice
from diffprog.tasks.trg.problem import TrgConfig


def bidiagonalisation(order: int) -> int:
    """Of a square matrix by Householder's reflections, 8/3 m³ to leading order: a product and an update each."""
    left = sum(4 * p * (p - 1) for p in range(2, order + 1))
    return left + sum(4 * p * p for p in range(2, order))


def split_rule(order: int, keep: int) -> int:
    """The products of ``split_vjp``: Uᵀ Ā and Vᵀ B̄, then U (…) Vᵀ of order m²k."""
    m, k = order, keep
    return 8 * m * m * k + 2 * m * k * k + 4 * m * (m - k) * k


def demand(config: TrgConfig, method: str, operator: str, itemsize: int) -> Demand | None:
    """None for second derivatives."""
    if operator not in ("value", "gradient"):
        return None
    plan = lattice.steps(config.side, config.chi, config.iterations)
    parameters = 1 if config.variant == "classic" else 2 * config.side**2
    products: float = 2 * sum(map(lattice.multiply_adds, plan))
    flops = products + sum(2 * step.half * bidiagonalisation(step.dim**2) for step in plan)
    moved = itemsize * (parameters + 1)
    largest = max(2 * step.half * step.dim**4 for step in plan)
    if operator == "value":
        return Demand(flops, moved, itemsize * largest, 2)
    flops += 2 * products + sum(2 * step.half * split_rule(step.dim**2, step.keep) for step in plan)
    tape = sum(2 * step.half * 2 * step.dim**2 * step.keep for step in plan)
    return Demand(flops, moved + itemsize * parameters, itemsize * max(largest, tape), 2)
