"""Directional derivatives by central differences of fourth order, extrapolated until they stop converging.

Sources: Fornberg, Math. Comp. 51 (1988) 699, table 1, for the formula; Ridders, Adv. Eng. Softw. 4 (1982) 75, for
Richardson's extrapolation in a tableau of halved steps, which ends where rounding begins to outweigh truncation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffprog.measure.norms import norm
from diffprog.spec import Array

ROUNDING = 1e-9
"""What rounding in a float64 function leaves of a fourth-order difference, relative: no bound is below it."""

STEPS = ((0.1, 7),)
"""First steps and how often they are halved, for functions that are smooth over such distances of their parameters."""
NO_END = float(np.finfo(np.float64).max)
"""An error, and what it may be, where no step gives a number: a record holds neither NaN nor infinity."""
CONVERGED = 1e-9
"""Relative. Before this, a step that makes things worse may have been too large, and a smaller one is tried."""


def unit_directions(parameters: int, count: int, seed: int) -> Array:
    """Random unit vectors, (count, P)."""
    drawn = np.random.default_rng([seed, 1]).standard_normal((count, parameters))
    unit: Array = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


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
    that differs least from both its neighbours of the column before. Its error is that difference, or how much the
    entry changes with the step, if that is more: a function with small kinks may converge by accident.
    """

    def estimate(h: float) -> Any:
        f = [np.asarray(function(x + k * h * direction), np.float64) for k in (-2, -1, 1, 2)]
        return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)

    rows, (row, column), least = [[estimate(step)]], (0, 0), float("inf")
    for i in range(1, halvings + 1):
        step /= 2
        rows.append([estimate(step)])
        for j, coarse in enumerate(rows[i - 1]):
            fine = rows[i][j]
            rows[i].append(fine + (fine - coarse) / (2 ** (4 + 2 * j) - 1))
            error = max(_distance(rows[i][-1], fine), _distance(rows[i][-1], coarse))
            if error < least:
                (row, column), least = (i, j + 1), error
        diverging = i > row and _distance(rows[i][-1], rows[i - 1][-1]) > 4 * least
        if diverging and least < CONVERGED * norm(rows[row][column]):
            break  # rounding: smaller steps have nothing to add
    best = rows[row][column]
    neighbour = rows[row + 1][column] if row + 1 < len(rows) else rows[row - 1][-1]
    return Derivative(best, max(least, _distance(neighbour, best)))


def _distance(x: Any, y: Any) -> float:
    return norm(x - y)


Steps = Sequence[tuple[float, int]]


def steps_for_any(unit: float) -> Steps:
    """For a function that nothing is known of: it may have kinks, or parameters of which 0.1 of a direction is much.

    ``unit``: how far along the direction the parameters may go until one of them is another altogether.
    """
    nearer = ((0.1 * unit, 7), (1e-4 * unit, 3)) if 0 < unit < 1 else ()
    return (*STEPS, (1e-4, 3), *nearer)


def check(
    function: Callable[[Array], float],
    x: Array,
    gradient: Array,
    directions: Array,
    least: float = ROUNDING,
    steps: Steps = STEPS,
) -> tuple[float, float]:
    """The largest |finite difference − g·v| / ‖g‖ over the rows v of ``directions``, and what it may be at most.

    The bound is ten times the differences' own error estimate, and never below ``least``.
    """
    scale = norm(gradient)
    found = [check_along(function, x, gradient @ direction, direction, scale, least, steps) for direction in directions]
    return max(error for error, _ in found), max(bound for _, bound in found)


def check_along(
    function: Callable[[Array], Any],
    x: Array,
    derivative: Any,
    direction: Array,
    scale: float,
    least: float = ROUNDING,
    steps: Steps = STEPS,
) -> tuple[float, float]:
    """|finite difference − derivative| / scale along one direction, and what it may be at most; as in `check`.

    Of several ``steps`` those count that converge best, the later ones being tried where the first do not converge.
    """
    scale = scale or 1.0
    difference = Derivative(np.nan, float("inf"))
    for step, halvings in steps:
        with np.errstate(invalid="ignore", over="ignore"):  # far away a function may be without value
            found = directional(function, x, direction, step, halvings)
        if found.error < difference.error or not np.isfinite(difference.error):
            difference = found
        if 10 * difference.error / scale <= least:
            break
    error = norm(difference.value - derivative) / scale
    if not np.isfinite(error + difference.error):
        return NO_END, NO_END
    return error, max(least, 10 * difference.error / scale)
