"""What a cell answers, on the host: before its functions are timed, and once more after that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from diffprog.backends.base import Prepared
from diffprog.measure.clock import Bare
from diffprog.records import protocol
from diffprog.spec import Array, Arrays

STEP = 0.1
"""How far away the timed functions are asked whether they still compute: the first step of finite differences."""
ROUNDINGS = 1e3
"""A change of the value by no more than this, relative to it and in roundings, may leave an answer as it is."""


class Kept(Exception):
    """A timed function gives back what an earlier call computed: its time is not that of the work."""


def of_value(cell: Prepared, result: Any, name: str) -> Arrays:
    """The value's own result under ``name``. Arrays are copies: a later call may write where the first one did."""
    return {name: np.array(cell.fetch_value(result))}


def of_derivative(cell: Prepared, result: Any, name: str, its_value: str) -> Arrays:
    """The derivative's result under ``name`` and the value that came with it."""
    value, derivative = cell.fetch(result)
    return {its_value: np.array(value), name: np.array(derivative)}


def outputs(cell: Prepared, checked: Callable[[Arrays], Arrays] = lambda found: found) -> Arrays:
    """The task's outputs, ``checked``; one that is called like an answer must not take its place."""
    found = checked({name: np.asarray(x) for name, x in cell.outputs().items()})
    return {protocol.OUTPUT + name if protocol.is_answer(name) else name: x for name, x in found.items()}


def after_sampling(cell: Prepared, operator: str, first: Arrays, *, may_keep: bool = False) -> Arrays:
    """What the timed functions give once more, where that is not bit for bit what they gave ``first``.

    The device's events time the same functions as the clock; loops of their own are asked as far as they can be.
    ``may_keep``: results are always at the same place, as those of a recorded graph are.

    Raises:
        Kept: if two calls in a row return one and the same object, be it in a tuple.
    """
    timed: dict[str, Callable[[], Any]] = {"value": cell.value}
    if operator != "value":
        timed["gradient"] = cell.derivative
    for name, loop in (("value", cell.value_by_hand), ("gradient", cell.derivative_by_hand)):
        if name in timed and isinstance(loop, Bare):
            timed[f"by_hand_{name}"] = loop.call
    found: Arrays = {}
    for name, call in timed.items():
        result = _again(cell, call, name, may_keep)
        label = protocol.AFTER + name
        if name.endswith("value"):
            again = of_value(cell, result, label)
            before = {label: first["value" if operator == "value" else protocol.VALUE_ALONE]}
        else:
            again = of_derivative(cell, result, label, label + protocol.ITS_VALUE)
            before = {label: first[operator], label + protocol.ITS_VALUE: first["value"]}
        found |= {key: x for key, x in again.items() if not _same(x, before[key])}
    return found


def still_computed(cell: Prepared, operator: str, first: Arrays, theta: Array, direction: Array, eps: float) -> None:
    """Asks what was timed at other parameters, once: a step from ``theta`` along ``direction``.

    That the answer must change is known from the value's change (`value_at`) and from the slope, which is checked; of
    an hvp the value alone is held to it. ``eps`` is a rounding of the precision.

    Raises:
        Kept: if it is still ``first``, bit for bit, though it must change: copies of what an earlier call computed.
    """
    if cell.elsewhere is None:
        return
    x = theta + STEP * direction
    try:
        change = cell.value_at(x) - cell.value_at(theta)
    except Exception:  # a user's model may have no value there: then nothing is known
        return
    slope = {"gradient": direction, "jvp": np.float64(1)}.get(operator)
    linear = change if slope is None else STEP * float(np.vdot(first[operator], slope))
    moved = {operator: abs(change - linear), "value": max(abs(change), abs(linear))}  # by its slope, and by itself
    least = ROUNDINGS * eps * max(1.0, abs(float(first["value"])))
    alone = "value" if operator == "value" else protocol.VALUE_ALONE
    found = cell.elsewhere(cell.value, lambda result: of_value(cell, result, alone), x)
    if operator != "value":
        found |= cell.elsewhere(cell.derivative, lambda result: of_derivative(cell, result, operator, "value"), x)
    for name, again in found.items():
        called = "value" if protocol.is_value(name) else operator
        # A value that was wrong from the start is the judge's to name.
        known = called != "value" or abs(float(first[name]) - float(first["value"])) < moved["value"]
        if known and moved[called] > least and _same(again, first[name]):
            raise Kept(f"the {called} that is timed is the same for other parameters: it is kept, not computed")


def differing(first: Arrays, again: Arrays, operator: str) -> Arrays:
    """The answers of a second measurement that are not bit for bit those of the first, named as after sampling."""
    derivative, alone = protocol.AFTER + "gradient", protocol.AFTER + "value"
    named = {alone: "value" if operator == "value" else protocol.VALUE_ALONE}
    if operator != "value":
        named |= {derivative: operator, derivative + protocol.ITS_VALUE: "value"}
    both = {key: name for key, name in named.items() if name in first and name in again}
    return {key: again[name] for key, name in both.items() if not _same(again[name], first[name])}


def _again(cell: Prepared, call: Callable[[], Any], name: str, may_keep: bool) -> Any:
    result = call()
    cell.synchronise(result)
    second = call()
    cell.synchronise(second)
    if not may_keep and {*map(id, _parts(result))} & {*map(id, _parts(second))}:
        raise Kept(f"two calls of the {name} that is timed return the same object: it is kept, not computed")
    return second


def _parts(result: Any) -> list[Any]:
    """What a result is made of, without what Python shares by itself."""
    result = list(result.values()) if isinstance(result, dict) else result
    parts = [part for x in result for part in _parts(x)] if isinstance(result, tuple | list) else [result]
    return [x for x in parts if x is not None and not isinstance(x, bool | int | str)]


def _same(x: Any, y: Any) -> bool:
    return x.shape == y.shape and x.dtype == y.dtype and np.array_equal(x, y, equal_nan=True)
