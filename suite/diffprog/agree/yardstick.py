"""What the cells of a case are judged by, made from the reference's answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

from diffprog import tasks
from diffprog.agree.rounding import Noise, noise
from diffprog.agree.tolerances import Yardstick
from diffprog.declaration import Approximation
from diffprog.measure import norms
from diffprog.records import protocol
from diffprog.spec import Arrays, Case

Inputs = Callable[[], Arrays]
"""The case's inputs, ``directions`` among them; read only where they are needed."""


def of_reference(
    case: Case, key: str, operator: str, arrays: Arrays, inputs: Inputs, scale: float | None, told: Noise | None = None
) -> Yardstick:
    """The yardstick of an operator (gradient, jvp or hvp) from a reference cell's arrays.

    Args:
        key: the reference cell's.
        scale: ‖g‖ of a jvp, where it is known.
        told: what rounding does to the case, where the worker has told it: of a task without derivatives by hand.
    """
    task = tasks.get(case.task)
    config, method = task.configure(case.variant, case.size), task.reference_method(case.variant)
    return Yardstick(
        key,
        float(arrays["value"]),
        arrays[operator],
        scale,
        exact=task.closed_form(config, inputs()) if operator == "gradient" else None,
        outputs={name: array for name, array in arrays.items() if not protocol.is_answer(name)},
        noise=(lambda: told or Noise())
        if not task.by_hand
        else cache(partial(_noise, case, method, operator, inputs, scale)),
    )


def of_method(yardstick: Yardstick, case: Case, method: str, approximation: Approximation, inputs: Inputs) -> Yardstick:
    """The gradient's yardstick for a method that approximates."""
    noise = cache(partial(_noise, case, method, "gradient", inputs, None))
    return replace(yardstick, approximation=approximation, noise=noise)


def _noise(case: Case, method: str, operator: str, inputs: Inputs, scale: float | None) -> Noise:
    return noise(case, method, operator, inputs(), scale)


def with_float32(
    yardstick: Yardstick, error: float | None, value: float | None, outputs: dict[str, float]
) -> Yardstick:
    """With the errors of the reference's own float32 answer."""
    return replace(yardstick, float32_error=error, float32_value=value, float32_outputs=outputs)


def norm(yardstick: Yardstick | None) -> float | None:
    """‖g‖ of a gradient's yardstick."""
    return None if yardstick is None else norms.norm(yardstick.derivative)
