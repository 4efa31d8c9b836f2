"""What rounding alone does to an answer at the inputs at hand: the right tolerance of an ill-conditioned case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from diffprog import tasks
from diffprog.agree import errors
from diffprog.spec import Array, Arrays, Case

TIMES = 3
"""So often are the inputs moved."""
ULP = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Noise:
    """The largest changes: of the value over max(1, |L|), of the others relative in L2."""

    value: float = 0.0
    derivative: float = 0.0
    outputs: Mapping[str, float] = field(default_factory=dict)


def noise(case: Case, method: str, operator: str, inputs: Arrays, scale: float | None = None) -> Noise:
    """How far the reference's answer moves when every float of the inputs moves by one unit in the last place.

    Args:
        method: whose rounding it is.
        operator: gradient, jvp or hvp.
        inputs: ``params``, data and ``directions``, float64.
        scale: what a derivative's change is relative to, where it is not its own norm.
    """
    task = tasks.get(case.task)
    functions = tasks.functions(case.task, "numpy", task.configure(case.variant, case.size), method)
    rule = getattr(functions, operator)
    if rule is None:
        return Noise()
    directions = list(inputs["directions"][:1]) if operator in ("jvp", "hvp") else []
    given = {name: array for name, array in inputs.items() if name != "directions"}

    def answer(arrays: Arrays) -> tuple[float, Array, Arrays]:
        data = dict(arrays)
        theta = data.pop("params")
        value, derivative = rule(theta, data, *directions)
        return float(value), np.asarray(derivative), functions.outputs(theta, data)

    value, derivative, outputs = answer(given)
    largest, off, moved = 0.0, 0.0, dict.fromkeys(outputs, 0.0)
    for k in range(TIMES):
        rng = np.random.default_rng(k)
        near = answer({name: _moved(array, rng) for name, array in given.items()})
        largest = max(largest, errors.of_value(near[0], value))
        off = max(off, errors.relative(near[1], derivative, scale))
        moved = {name: max(moved[name], errors.of_output(near[2][name], outputs[name])) for name in outputs}
    return Noise(largest, off, moved)


def _moved(array: Array, rng: np.random.Generator) -> Array:
    if array.dtype.kind != "f":
        return array
    return np.asarray(array * (1 + ULP * rng.choice([-1.0, 1.0], array.shape)))
