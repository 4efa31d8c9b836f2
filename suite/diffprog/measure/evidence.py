"""What an answer is held against besides other answers: differences, the adjoint identity, another call, rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from diffprog.measure import finite_differences
from diffprog.measure.norms import norm
from diffprog.spec import Array, Layout

IDENTITY = 450
"""Roundings that the two sides of the adjoint identity may differ by, at least: 1e-13 in float64."""
IDENTITY_SHARE = 1e-3
"""And a task's tolerance times this, where its condition number loses more digits."""
MOVES = 3
"""So often are the parameters moved by a unit in the last place."""

Found = tuple[float | None, float | None]
"""An error and what it may be at most; None where it was not asked for, or makes no sense."""


class Answers(Protocol):
    """A loss at any parameters: value, and gradient (P,) by the default engine, on the host."""

    @property
    def value_at(self) -> Callable[[Array], float]: ...
    @property
    def gradient_at(self) -> Callable[[Array], Array]: ...


def units_of(layout: Layout, theta: Array) -> Array:
    """By how much to change parameters of which nothing is known (P,): by the size of each one's array."""
    parts = layout.split(theta).values()
    sizes = [norm(part) / np.sqrt(part.size) for part in parts]
    return np.concatenate([np.full(part.size, size or 1.0) for part, size in zip(parts, sizes, strict=True)])


def differences(
    cell: Answers,
    operator: str,
    theta: Array,
    derivative: Array,
    directions: Array,
    kinks: float = 0.0,
    units: Array | None = None,
) -> Found:
    """A derivative against differences of the cell's own value, or of its gradient.

    Args:
        cell: the loss.
        operator: gradient, jvp or hvp; of a value there are none.
        theta: (P,).
        derivative: by the operator, of a jvp and an hvp along the first of ``directions``.
        directions: (k, P), unit vectors; none of them: nothing is asked.
        kinks: what the differences may be off by however well they seem to converge, relative to ‖g‖.
        units: of a model that nothing is known of, see `units_of`: smaller steps are tried where large ones do not
            converge, and a gradient's directions are of parameters in these units.
    """
    if not len(directions) or operator == "value" or not np.isfinite(derivative).all():
        return None, None
    floor = max(finite_differences.ROUNDING, kinks)
    if operator == "gradient" and units is None:
        return finite_differences.check(cell.value_at, theta, derivative, directions, floor)
    if operator == "gradient" and units is not None:
        steps = finite_differences.steps_for_any(1.0)
        function = partial(_in_units, cell, units)
        return finite_differences.check(function, theta / units, derivative * units, directions, floor, steps)
    steps = finite_differences.STEPS
    if units is not None:
        reach = float(np.min(units)) / max(float(np.max(np.abs(directions[0]))), np.finfo(float).tiny)
        steps = finite_differences.steps_for_any(reach)
    of_value = operator == "jvp"
    scale = cell.gradient_at(theta) if of_value else derivative
    asked: Callable[[Array], Any] = cell.value_at if of_value else cell.gradient_at
    return finite_differences.check_along(asked, theta, derivative, directions[0], norm(scale), floor, steps)


def _in_units(cell: Answers, units: Array, x: Array) -> float:
    """The value, of the parameters in these units."""
    return cell.value_at(x * units)


def identity(cell: Answers, theta: Array, direction: Array, jvp: Array, tolerance: float) -> Found:
    """The adjoint identity ⟨1, J v⟩ = ⟨Jᵀ 1, v⟩ of a jvp with the cell's own gradient, relative to ‖g‖.

    Args:
        cell: the loss.
        theta: (P,).
        direction: v, (P,).
        jvp: J v, (), in the cell's precision.
        tolerance: of a float64 gradient.
    """
    if not np.isfinite(jvp).all():
        return None, None
    gradient = cell.gradient_at(theta).astype(np.float64)
    direction = direction.astype(jvp.dtype).astype(np.float64)
    error = abs(float(jvp) - float(gradient @ direction)) / (norm(gradient) or 1.0)
    eps = float(np.finfo(jvp.dtype).eps)
    allowed = IDENTITY * eps
    return error, max(allowed, IDENTITY_SHARE * tolerance) if eps < 1e-12 else allowed


def undetermined(calls: Sequence[float]) -> float | None:
    """By how much values of the same inputs differ, over max(1, |L|)."""
    found = (max(calls) - min(calls)) / max(1.0, abs(calls[0]))
    return found if np.isfinite(found) else finite_differences.NO_END


def rounding(cell: Answers, theta: Array, value: float, gradient: Array | None) -> tuple[float, float]:
    """How far value and gradient move when every parameter moves by a unit in the last place; of a float64 cell.

    The value's over max(1, |L|), the gradient's relative to its norm (0 where there is none).
    """
    values, slopes = [0.0], [0.0]
    for k in range(MOVES):
        moved = theta * (1 + np.finfo(np.float64).eps * np.random.default_rng(k).choice([-1.0, 1.0], theta.shape))
        values.append(abs(cell.value_at(moved) - value) / max(1.0, abs(value)))
        if gradient is not None:
            slopes.append(norm(cell.gradient_at(moved) - gradient) / (norm(gradient) or 1.0))
    return max(values), max(slopes)


def blocks(cell: Answers, theta: Array, gradient: Array, layout: Layout) -> dict[str, tuple[float, float]]:
    """A gradient against differences along one random direction within each block: error and most, relative to ‖g‖.

    In units of the parameters' own sizes, as in `differences`.
    """
    units, steps = units_of(layout, theta), finite_differences.steps_for_any(1.0)
    found, start, gradient = {}, 0, gradient * units
    scale, function = norm(gradient), partial(_in_units, cell, units)
    for block in layout.blocks:
        direction = np.zeros(layout.size)
        direction[start : start + block.size] = finite_differences.unit_directions(block.size, 1, start)[0]
        slope = gradient @ direction
        found[block.name] = finite_differences.check_along(
            function, theta / units, slope, direction, scale, steps=steps
        )
        start += block.size
    return found
