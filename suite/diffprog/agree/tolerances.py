"""What answers are judged by: the reference's, and how far they may be from it. A task declares its own tolerance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffprog.agree.rounding import Noise
from diffprog.declaration import Allowed, Approximation, Task
from diffprog.spec import Array, Arrays, Cell, dtype

FLOAT32_EPS = float(np.finfo(np.float32).eps)
FLOAT32_FACTOR = 10
"""A float32 answer may be this many times as far from the float64 reference as the reference's own float32 one."""
FLOAT32_FLOOR = 64 * FLOAT32_EPS
"""And need not be nearer than this: the reference may be lucky."""
FLOAT32_REFERENCE = 1e4 * FLOAT32_EPS
"""The reference's own float32 answer is held to this."""
TF32_FACTOR = 2**13
"""TF32 rounds the factors of a product to 11 bits where float32 has 24: errors may be as many times larger."""
TF32_MOST = 0.1
"""But no larger than this: then it is no answer, however ill-conditioned the case."""
COMPONENT = 1e-7
"""The relative error that one component of a float64 gradient or hvp may have; see ``errors.compare``. The norm alone
would let a small component be wrong altogether. Not asked where more than the task's tolerance is allowed."""
NOISE_FACTOR = 50
"""A float64 answer beyond its task's tolerance may be so many times as far off as the reference's own answer moves when
its inputs move by a unit in the last place; see ``rounding.noise``. 15 was the most in 1,000 gradients at size tiny."""
NOISE_MOST = 1e-6
"""But no farther than this."""
OUTPUT_MOST = 0.1
"""The same of an output, in each precision: a spectrum after many steps of renormalisation may be chaotic."""


@dataclass(frozen=True)
class Yardstick:
    """What the cells of one case and operator are judged by.

    Attributes:
        key: the reference cell's key.
        value: its float64 value.
        derivative: its float64 gradient or hvp, shape (P,), or jvp, shape ().
        scale: what errors are relative to, where it is not the derivative's own norm: ‖g‖ for a jvp, which may cancel.
        float32_error: relative L2 error of the reference's own float32 gradient, None until it is known.
        exact: value and gradient in closed form, where there is one.
        outputs: its float64 outputs; empty where they are not known.
        float32_value: the error of the reference's own float32 value, None until it is known.
        float32_outputs: those of its float32 outputs.
        approximation: what cells of a method that approximates are judged by instead.
        noise: what rounding does to this case, computed only where an answer is not right at once.
    """

    key: str
    value: float
    derivative: Array
    scale: float | None = None
    float32_error: float | None = None
    exact: tuple[float, Array] | None = None
    outputs: Arrays = field(default_factory=dict)
    float32_value: float | None = None
    float32_outputs: Mapping[str, float] = field(default_factory=dict)
    approximation: Approximation | None = None
    noise: Callable[[], Noise] | None = None


def _rounding(task: Task, precision: str, base: float, own: float | None) -> float:
    """What rounding alone may do: ``base`` in float64; below it some times the reference's ``own`` float32 error."""
    if precision == "float64":
        return base
    single = FLOAT32_REFERENCE if own is None else max(FLOAT32_FACTOR * own, FLOAT32_FLOOR, task.float32_floor)
    return min(TF32_FACTOR * single, TF32_MOST) if precision == "tf32" else single


def _allowed(cell: Cell, yardstick: Yardstick) -> Allowed:
    """What the cell's method may be off by besides rounding."""
    approximation = yardstick.approximation
    return Allowed() if approximation is None else approximation.allowed.get(dtype(cell.precision), Allowed())


def tolerance(task: Task, cell: Cell, config: Any, yardstick: Yardstick) -> float:
    """The largest relative L2 error that a derivative may have: of rounding, or of its method where that is larger."""
    base = task.tolerance_of(config, cell.operator)
    rounding = _rounding(task, cell.precision, base, yardstick.float32_error)
    return max(rounding, _allowed(cell, yardstick).gradient)


def value_tolerance(task: Task, cell: Cell, yardstick: Yardstick) -> float:
    """The same of the value, over max(1, |L|); a second derivative's digits are not the value's."""
    rounding = _rounding(task, cell.precision, task.tolerance, yardstick.float32_value)
    if cell.precision != "float64" and yardstick.float32_value is None and yardstick.float32_error is not None:
        rounding = _rounding(task, cell.precision, task.tolerance, yardstick.float32_error)
    return max(rounding, _allowed(cell, yardstick).value)


def output_tolerance(task: Task, cell: Cell, config: Any, yardstick: Yardstick, name: str) -> float:
    """The same of one output; see `errors.of_output`."""
    rounding = _rounding(task, cell.precision, task.tolerance, yardstick.float32_outputs.get(name))
    power = task.loose(config).get(name)
    if power is not None:
        rounding = max(rounding, 10 * float(np.finfo(dtype(cell.precision)).eps) ** power)
    return max(rounding, _allowed(cell, yardstick).outputs.get(name, 0.0))
