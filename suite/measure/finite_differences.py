"""Directional derivatives by central differences of fourth order with a step chosen by their own convergence.

Source: Fornberg, Math. Comp. 51 (1988) 699, table 1, for the formula; the step is halved until the change between two
estimates stops shrinking (truncation gives way to rounding), and the last change is the estimate's own error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from suite.spec import Array


@dataclass(frozen=True)
class Derivative:
    """d/dt f(x + t v) at t = 0, and an estimate of its absolute error."""

    value: float
    error: float


def directional(
    function: Callable[[Array], float], x: Array, direction: Array, step: float = 0.1, halvings: int = 7
) -> Derivative:
    """The derivative of ``function`` at ``x`` along ``direction`` (both of shape (P,)); 4 calls a step."""

    def estimate(h: float) -> float:
        f = [function(x + k * h * direction) for k in (-2, -1, 1, 2)]
        return float((f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h))

    best = Derivative(estimate(step), float("inf"))
    previous = best.value
    for _ in range(halvings):
        step /= 2
        value = estimate(step)
        change = abs(value - previous)
        if change < best.error:
            best = Derivative(value, change)
        elif best.error < float("inf") and change > 10 * best.error:
            break
        previous = value
    return best


def check(function: Callable[[Array], float], x: Array, gradient: Array, directions: Array) -> tuple[float, float]:
    """The largest |finite difference − g·v| / ‖g‖ over the rows v of ``directions``, and what it may be at most.

    The bound is ten times the differences' own error estimate, and never below 1e-9: what rounding in ``function``
    leaves of a fourth-order difference in float64.
    """
    norm = float((gradient @ gradient) ** 0.5) or 1.0
    error, bound = 0.0, 1e-9
    for direction in directions:
        derivative = directional(function, x, direction)
        error = max(error, abs(derivative.value - float(gradient @ direction)) / norm)
        bound = max(bound, 10 * derivative.error / norm)
    return error, bound
