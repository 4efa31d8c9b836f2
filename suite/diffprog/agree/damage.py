"""Arrays that cannot be an answer at all: dtype, shape, NaN, Inf, names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from diffprog.declaration import Task
from diffprog.records import protocol
from diffprog.spec import Array, Arrays, Cell, Layout, dtype


def listed_outputs(task: Task, arrays: Arrays) -> list[str]:
    """The names of a cell's outputs that are compared."""
    return [name for name in arrays if not protocol.is_answer(name) and name not in task.counts]


def damage(
    task: Task, cell: Cell, config: Any, arrays: Arrays, outputs: Mapping[str, Array] | None = None, leader: str = ""
) -> str:
    """Why the arrays cannot be an answer, or an empty string.

    ``outputs`` are the reference's: an output that it does not have, or of another shape, is none of the task's. None
    of them, or an empty mapping: these are not asked about. ``leader`` is the backend that they are from, where nobody
    else says what the outputs are.
    """
    needed = ("value",) if cell.operator == "value" else ("value", cell.operator)
    for name in needed:
        if name not in arrays:
            return f"there is no array {name!r}"
    for name in filter(protocol.is_value, arrays):
        if reason := _value(arrays[name], name):
            return reason
    if cell.operator != "value":
        layout = task.layout(config)
        for name in arrays:
            after = name.startswith(protocol.AFTER) and protocol.is_derivative(name)
            if (name == cell.operator or after) and (reason := _derivative(arrays[name], name, cell, layout)):
                return reason
    for name in (name for name in arrays if name.startswith(protocol.OUTPUT)):
        taken = name.removeprefix(protocol.OUTPUT)
        return f"an output has the name {taken!r}, which is the answer's own"
    for name in listed_outputs(task, arrays):
        if reason := _output(arrays[name], name, cell, outputs or {}, leader):
            return reason
    return ""


def _value(found: Array, name: str) -> str:
    called = "value that is timed" if name == protocol.VALUE_ALONE else "value"
    after = " after sampling" if name.startswith(protocol.AFTER) else ""
    if found.dtype.kind not in "biuf":
        return f"the {called}{after} is {found.dtype}, no real number"
    if np.shape(found) != ():
        return f"the {called}{after} has shape {np.shape(found)}, not ()"
    return "" if np.isfinite(found) else f"the {called}{after} is {float(found)}"


def _derivative(found: Array, name: str, cell: Cell, layout: Layout) -> str:
    called = cell.operator if name == cell.operator else f"{cell.operator} after sampling"
    expected = () if cell.operator == "jvp" else (layout.size,)
    if found.shape != expected:
        return f"the {called} has shape {found.shape}, not {expected}"
    if found.dtype != dtype(cell.precision):
        return f"the {called} is {found.dtype}, not {dtype(cell.precision)}"
    wrong = np.flatnonzero(~np.isfinite(found))
    if wrong.size and cell.operator == "jvp":
        return f"the {called} is {float(found)}"
    if wrong.size:
        first = layout.name_of(int(wrong[0]))
        return f"{wrong.size} of {layout.size} {called} components are not finite, the first is {first}"
    return ""


def _output(found: Array, name: str, cell: Cell, outputs: Mapping[str, Array], leader: str) -> str:
    of_whom, there = (f"on {leader}, which", f" as on {leader}") if leader else ("of the task: it", "")
    if outputs and name not in outputs:
        return f"{name!r} is no output {of_whom} has {', '.join(outputs)}"
    if outputs and found.shape != outputs[name].shape:
        return f"the output {name} has shape {found.shape}, not {outputs[name].shape}{there}"
    kind = outputs[name].dtype if outputs else found.dtype
    wanted = dtype(cell.precision) if kind.kind == "f" else kind.name
    if found.dtype != wanted or kind.kind not in "biuf":
        needed = f"{wanted}{there}" if kind.kind in "biuf" else "made of real numbers"
        return f"the output {name} is {found.dtype}, not {needed}"
    wrong = int(np.count_nonzero(~np.isfinite(found)))
    return f"{wrong} of {found.size} numbers of the output {name} are not finite" if wrong else ""
