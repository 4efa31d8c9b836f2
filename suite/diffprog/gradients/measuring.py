"""What a side answers, with the evidence that it needs no other side for; or why it does not."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from diffprog.errors import Unavailable, Unsupported, UsageError
from diffprog.gradients.given import Given
from diffprog.gradients.sides import OutOfTime, Side, in_words
from diffprog.measure import evidence
from diffprog.models.loading import Fault
from diffprog.records import protocol
from diffprog.records.cells import Memory, Seconds
from diffprog.spec import Arrays, Cell


@dataclass(frozen=True)
class Measured:
    """A cell's answer: ``value``, ``value_alone`` and the derivative under its operator's name."""

    cell: Cell
    side: Side
    arrays: Arrays
    result: protocol.Result


@dataclass(frozen=True)
class Failed:
    """A cell without an answer."""

    cell: Cell
    outcome: str
    reason: str
    mend: str = ""
    cause: BaseException | None = field(default=None, repr=False)


def failed(cell: Cell, error: Exception) -> Failed:
    """The outcome that an exception stands for."""
    match error:
        case Unavailable():
            return Failed(cell, "unavailable", str(error), error.mend)
        case Unsupported():
            return Failed(cell, "unsupported", str(error))
        case OutOfTime():
            return Failed(cell, "timed_out", str(error))
        case UsageError():
            return Failed(cell, "error", str(error), cause=error)
        case MemoryError():
            return Failed(cell, "out_of_memory", str(error) or "MemoryError", cause=error)
        case Fault():
            return Failed(cell, "error", in_words(str(error)), cause=error.__cause__ or error)
    text = f"{type(error).__name__}: {error}"
    return Failed(cell, "out_of_memory" if "out of memory" in text.lower() else "error", text, cause=error)


def measure(cell: Cell, side: Side, given: Given, tolerance: float) -> Measured | Failed:
    """Asks a side, and in float64 what differences, another call and rounding say of its answer."""
    try:
        return _measure(cell, side, given, tolerance)
    except Exception as error:  # whatever a function or a framework raises becomes this cell's outcome
        return failed(cell, error)


def _measure(cell: Cell, side: Side, given: Given, tolerance: float) -> Measured:
    theta, operator, double = given.theta, cell.operator, cell.precision == "float64"
    arrays: Arrays = {}
    if operator == "value":
        arrays["value"] = np.array(side.value_at(theta))
    else:
        arrays[protocol.VALUE_ALONE] = np.array(side.value_at(theta))
        value, derivative = side.derivative_at(operator, cell.engine, theta, given.directions[0])
        arrays["value"], arrays[operator] = np.array(value), np.asarray(derivative)
    calls = [float(arrays["value"]), side.value_at(theta)]
    if protocol.VALUE_ALONE in arrays:
        calls.append(float(arrays[protocol.VALUE_ALONE]))
    undetermined = evidence.undetermined(calls)
    whole = all(np.isfinite(x).all() for x in arrays.values()) and _of_its_shape(arrays, cell, given)
    difference: evidence.Found = (None, None)
    same: evidence.Found = (None, None)
    noise: tuple[float | None, float | None] = (None, None)
    if whole and double:
        units = evidence.units_of(given.layout, theta)
        difference = evidence.differences(side, operator, theta, arrays[operator], given.directions, units=units)
        slope = arrays["gradient"] if operator == "gradient" else None
        noise = evidence.rounding(side, theta, calls[0], slope)
    if whole and operator == "jvp":
        same = evidence.identity(side, theta, given.directions[0], arrays["jvp"], tolerance)
    result = protocol.Result(
        value=calls[0] if np.isfinite(calls[0]) else None,
        invariants={},
        seconds=Seconds(),
        memory=Memory(),
        finite_differences=difference[0],
        finite_differences_tolerance=difference[1],
        identity=same[0],
        identity_tolerance=same[1],
        value_noise=noise[0],
        noise=noise[1],
        undetermined=undetermined,
        off_blocks=_off_blocks(cell, side, given, arrays) if _beyond(difference) else {},
    )
    return Measured(cell, side, arrays, result)


def _beyond(found: evidence.Found) -> bool:
    error, most = found
    return error is not None and most is not None and error > most


def _off_blocks(cell: Cell, side: Side, given: Given, arrays: Arrays) -> dict[str, float]:
    """How far each parameter's part of a gradient is from finite differences, where there are several."""
    if cell.operator != "gradient" or len(given.layout.blocks) < 2:
        return {}
    found = evidence.blocks(side, given.theta, arrays["gradient"], given.layout)
    return {name: error for name, (error, _) in found.items()}


def _of_its_shape(arrays: Arrays, cell: Cell, given: Given) -> bool:
    wanted = {"value": (), "jvp": ()}.get(cell.operator, given.theta.shape)
    return arrays[cell.operator].shape == wanted
