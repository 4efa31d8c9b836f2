"""Cells held against each other: the first whose gradient agrees with finite differences judges the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np

from diffprog.agree import errors, verdict
from diffprog.agree import yardstick as yardsticks
from diffprog.agree.rounding import Noise
from diffprog.agree.tolerances import Yardstick
from diffprog.declaration import Task
from diffprog.engines import NO_CIRCUIT, NO_EXPERT
from diffprog.gradients.given import Given
from diffprog.gradients.measuring import Failed, Measured
from diffprog.measure.norms import norm
from diffprog.records.cells import Agreement
from diffprog.spec import Array, Case, Cell, Layout

NAME = "check_gradients"
METHOD = "engine"
NO_JUDGE = "there is nothing to compare with: no gradient agrees with finite differences"

Verdict = tuple[str, str, Agreement | None]
"""Outcome, reason, figures."""


def task(given: Given, tolerance: float, floor: float) -> Task:
    """The functions as a task, for the judges of tasks.

    Args:
        given: what they are compared at.
        tolerance: of a float64 derivative, relative L2.
        floor: what a float32 derivative may be off by, however near the yardstick's own came.
    """
    layout = given.layout
    return Task(
        name=NAME,
        title="functions given from Python",
        variants=("given",),
        methods=(METHOD,),
        configure=lambda variant, size: None,
        draw=lambda config, seed: {"params": given.theta, **given.data},
        layout=lambda config: layout,
        work=lambda config: {},
        extent=lambda config: ("parameters", float(layout.size)),
        memory=lambda config, method, itemsize: 0,
        tolerance=tolerance,
        float32_floor=floor,
        limits=(NO_EXPERT, NO_CIRCUIT),
        by_hand=False,
    )


def cell(backend: str, engine: str, operator: str, precision: str, seed: int) -> Cell:
    """The cell of one function."""
    case = Case(NAME, "given", "tiny", seed)
    return Cell(case, backend, METHOD, operator, precision, "cpu", engine)


def leader(task: Task, measured: Sequence[Measured], given: Given) -> Yardstick | None:
    """The yardstick: the first float64 derivative that stands by itself."""
    for one in measured:
        if one.cell.operator == "value":
            continue
        outcome, _, agreement = verdict.judge(task, one.cell, None, one.arrays, one.result, None)
        if outcome != "ok" or agreement is None or agreement.finite_differences is None:
            continue
        scale = None
        if one.cell.operator == "jvp":
            scale = norm(one.side.gradient_at(given.theta))
        noise = partial(Noise, one.result.value_noise or 0.0, one.result.noise or 0.0)
        return Yardstick(one.cell.key, float(one.arrays["value"]), one.arrays[one.cell.operator], scale, noise=noise)
    return None


def in_float32(task: Task, yardstick: Yardstick, single: Measured | Failed) -> Yardstick:
    """The yardstick with the error of its own function in float32, which is what others may be off by."""
    if isinstance(single, Failed):
        return yardstick
    _, _, agreement = verdict.judge(task, single.cell, None, single.arrays, single.result, yardstick)
    if agreement is None or agreement.gradient is None:
        return yardstick
    return yardsticks.with_float32(yardstick, agreement.gradient.relative_l2, agreement.value, {})


def judge(task: Task, one: Measured | Failed, yardstick: Yardstick | None) -> Verdict:
    """One cell's verdict; without a yardstick it is judged by finite differences alone."""
    if isinstance(one, Failed):
        return one.outcome, one.reason, None
    if yardstick is None and (one.cell.operator == "value" or one.cell.precision != "float64"):
        return "error", NO_JUDGE, None
    outcome, reason, agreement = verdict.judge(task, one.cell, None, one.arrays, one.result, yardstick)
    if outcome == "ok" and yardstick is None:  # it stands, and yet was no yardstick: nothing speaks for it
        return "disagrees", NO_JUDGE, agreement
    return outcome, reason, agreement


def by_block(x: Array, y: Array, layout: Layout, scale: float | None = None) -> dict[str, float]:
    """The relative L2 error of each parameter's part of a flat gradient."""
    ours, theirs = layout.split(x.astype(np.float64)), layout.split(y.astype(np.float64))
    return {name: errors.relative(ours[name], theirs[name], scale) for name in ours}


def alike(measured: Sequence[Measured], tolerance: float) -> tuple[str, ...]:
    """The first backends that give one and the same derivative, two at least."""
    found: dict[str, None] = {}
    good = [one for one in measured if one.cell.operator != "value" and one.result.finite_differences is not None]
    for first, second in combinations(good, 2):
        x, y = (one.arrays[one.cell.operator].reshape(-1).astype(np.float64) for one in (first, second))
        if x.shape == y.shape and errors.relative(x, y) <= tolerance and (not found or first.cell.backend in found):
            found |= {first.cell.backend: None, second.cell.backend: None}
    return tuple(found)


def single(cell: Cell) -> Cell:
    """The same in float32."""
    return replace(cell, precision="float32")
