"""Directional derivatives by central differences of fourth order, extrapolated until they stop converging.

Sources: Fornberg, Math. Comp. 51 (1988) 699, table 1, for the formula; Ridders, Adv. Eng. Softw. 4 (1982) 75, for
Richardson's extrapolation in a tableau of halved steps, which ends where rounding begins to outweigh truncation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.spec import Array

ROUNDING = 1e-9
"""What rounding in a float64 function leaves of a fourth-order difference, relative: no bound is below it."""


@dataclass(frozen=True)
class Derivative:
    """d/dt f(x + t v) at t = 0, of the shape of f, and an estimate of its absolute error (of its norm)."""

    value: Any
    error: float


def directional(
    function: Callable[[Array], Any], x: Array, direction: Array, step: float = 0.1, halvings: int = 7
) -> Derivative:
    """The derivative of ``function`` (a float or an array) at ``x`` along ``direction`` (P,); 4 calls a step.

    Row i of the tableau has step h/2ⁱ; column j removes the error term of order 4 + 2(j − 1). The answer is the entry
    that differs least from both its neighbours of the column before, and that difference is its error.
    """

    def estimate(h: float) -> Any:
        f = [np.asarray(function(x + k * h * direction), np.float64) for k in (-2, -1, 1, 2)]
        return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)

    row = [estimate(step)]
    best = Derivative(row[0], float("inf"))
    for _ in range(halvings):
        step /= 2
        above, row = row, [estimate(step)]
        for column, coarse in enumerate(above):
            fine = row[column]
            extrapolated = fine + (fine - coarse) / (2 ** (4 + 2 * column) - 1)
            error = float(max(np.linalg.norm(extrapolated - fine), np.linalg.norm(extrapolated - coarse)))
            if error < best.error:
                best = Derivative(extrapolated, error)
            row.append(extrapolated)
        if float(np.linalg.norm(row[-1] - above[-1])) > 4 * best.error:
            break  # the highest orders have begun to diverge: rounding
    return best


def check(function: Callable[[Array], float], x: Array, gradient: Array, directions: Array) -> tuple[float, float]:
    """The largest |finite difference − g·v| / ‖g‖ over the rows v of ``directions``, and what it may be at most.

    The bound is ten times the differences' own error estimate, and never below `ROUNDING`.
    """
    scale = float(np.linalg.norm(gradient))
    found = [check_along(function, x, gradient @ direction, direction, scale) for direction in directions]
    return max(error for error, _ in found), max(bound for _, bound in found)


def check_along(
    function: Callable[[Array], Any], x: Array, derivative: Any, direction: Array, scale: float
) -> tuple[float, float]:
    """|finite difference − derivative| / scale along one direction, and what it may be at most; as in `check`."""
    difference, scale = directional(function, x, direction), scale or 1.0
    error = float(np.linalg.norm(difference.value - derivative)) / scale
    return error, max(ROUNDING, 10 * difference.error / scale)
