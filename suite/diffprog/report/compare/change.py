"""What has become of one cell from one run to another: its gradient, and its times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diffprog import tasks
from diffprog.agree import errors, timings
from diffprog.agree.baselines import SAME
from diffprog.errors import UsageError
from diffprog.measure.norms import norm
from diffprog.records.cells import Record
from diffprog.report import arrays
from diffprog.report.compare import origins
from diffprog.report.outcomes import ABSENCES
from diffprog.spec import Array, Arrays, Case, Cell, Layout

CHANGES = ("regressed", "failing", "lost", "not compared", "repaired", "within tolerance", "same", "not computed")
"""What can have become of a cell, the worst first.

``failing``: it fails, and was not ok before. ``lost``: it was ok and its backend is unavailable now. ``not compared``:
ok in both, but arrays are missing or the inputs differ. ``not computed``: B could not be asked for it, and A had no
right answer.
"""


@dataclass(frozen=True)
class Options:
    """``effect``: least change of a time; ``alpha``: largest adjusted p; the rest: what to compare, None for all."""

    effect: float = timings.EFFECT
    alpha: float = timings.ALPHA
    devices: tuple[str, ...] | None = None
    precisions: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Timing:
    """The times of one call in both runs. ``quantity``: value, gradient, jvp or hvp.

    ``verdict`` is one of `timings.VERDICTS` or ``withheld``, with the reason in ``why``; ``before`` and ``after`` are
    medians in seconds; ``p`` is adjusted for all the comparison's tests.
    """

    quantity: str
    before: float
    after: float
    shift: timings.Shift
    verdict: str = ""
    why: str = ""
    p: float = 1.0


@dataclass(frozen=True)
class Change:
    """One cell in both runs. ``relative_l2`` and the rest are of B's derivative against A's, ``worst`` a difference."""

    cell: Cell
    before: Record
    after: Record
    kind: str
    reason: str = ""
    relative_l2: float | None = None
    worst_name: str = ""
    worst: float | None = None
    times: tuple[Timing, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """Whether the inputs of a case are the same in both runs, and its parameters' names."""

    same: bool
    layout: Layout | None

    @classmethod
    def read(cls, first: Path, second: Path, case: Case) -> Inputs:
        a, b = (arrays.inputs(folder, case) for folder in (first, second))
        same = a is None or b is None or (a.keys() == b.keys() and all(_alike(a[name], b[name]) for name in a))
        try:
            task = tasks.get(case.task)
            return cls(same, task.layout(task.configure(case.variant, case.size)))
        except UsageError:  # a case that this suite does not have
            return cls(same, None)


def _alike(a: Array, b: Array) -> bool:
    """To rounding: some inputs are made by LAPACK, whose last bits are the CPU's."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    x, y = a.astype(np.float64), b.astype(np.float64)
    return norm(x - y) <= SAME * norm(x)


def identical(a: Array, b: Array) -> bool:
    """Bit for bit, shape and dtype included."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def change_of(
    first: Path, second: Path, a: Record, b: Record, inputs: Inputs, norm: float | None, options: Options
) -> Change:
    change = Change(a.cell, a, b, "same")
    change = replace(change, times=_timings(a, b, inputs.same, options))
    ours, theirs = arrays.results(first, a), arrays.results(second, b)
    if inputs.same and ours is not None and theirs is not None:
        change = _difference(change, ours, theirs, inputs.layout, norm)
    if a.outcome != "ok" or b.outcome != "ok":
        return _by_outcome(change)
    if not inputs.same:
        return replace(change, kind="not compared", reason="the inputs of the two runs differ")
    if ours is None or theirs is None:
        missing = " and ".join(name for name, found in (("A", ours), ("B", theirs)) if found is None)
        return replace(change, kind="not compared", reason=f"the arrays of {missing} are missing or damaged")
    return change


def _by_outcome(change: Change) -> Change:
    before, after = change.before.outcome, change.after.outcome
    reason = f"{before} → {after}" + (f": {change.after.reason}" if change.after.reason else "")
    if after == "ok":
        kind = "repaired"
    elif before == "ok":
        kind = "lost" if after == "unavailable" else "regressed"
    else:
        kind = "not computed" if after in ABSENCES else "failing"
    return replace(change, kind=kind, reason=reason)


def _difference(change: Change, ours: Arrays, theirs: Arrays, layout: Layout | None, norm: float | None) -> Change:
    """The arrays of B against those of A, judged by the looser tolerance of the two records."""
    known = [r.agreement.tolerance for r in (change.before, change.after) if r.agreement is not None]
    operator = change.cell.operator
    names = ["value", *([operator] if operator != "value" else [])]
    if not all(name in found for name in names for found in (ours, theirs)):
        return replace(change, kind="not compared", reason="the arrays lack the value or the derivative")
    if all(identical(ours[name], theirs[name]) for name in names):
        return replace(change, relative_l2=0.0)
    if not known:
        return replace(change, kind="not compared", reason="neither record has a tolerance")
    tolerance = max(known)
    for name in names:
        x, y = np.atleast_1d(theirs[name]), np.atleast_1d(ours[name])
        if x.shape != y.shape or x.dtype != y.dtype:
            reason = f"the {name} was {y.dtype}{list(y.shape)} and is {x.dtype}{list(x.shape)}"
            return replace(change, kind="regressed", reason=reason, relative_l2=math.inf)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return replace(change, kind="regressed", reason=f"the {name} is not finite", relative_l2=math.inf)
    before, after = float(ours["value"]), float(theirs["value"])
    value = errors.of_value(after, before)
    kind, reason = "within tolerance", ""
    relative, worst, worst_name = value, abs(after - before), "value"
    if operator != "value":
        x, y = theirs[operator].reshape(-1), ours[operator].reshape(-1)
        named = layout if layout is not None and layout.size == x.size and operator != "jvp" else None
        found = errors.compare(x, y, named, norm if operator == "jvp" else None)
        relative, worst = found.relative_l2 or 0.0, abs(float(x[found.worst]) - float(y[found.worst]))
        worst_name = found.worst_name or (operator if operator == "jvp" else f"component {found.worst}")
    if relative > tolerance:
        kind, reason = "regressed", f"the {operator} moved by {relative:.2e} (at most {tolerance:.1e})"
    elif value > tolerance:
        kind, reason = "regressed", f"the value moved by {value:.2e} (at most {tolerance:.1e})"
    return replace(change, kind=kind, reason=reason, relative_l2=relative, worst_name=worst_name, worst=worst)


def _timings(a: Record, b: Record, same_inputs: bool, options: Options) -> tuple[Timing, ...]:
    why = "the inputs differ" if not same_inputs else origins.not_comparable(a.provenance, b.provenance)
    if not why and (a.outcome != "ok" or b.outcome != "ok"):
        why = "not ok in both"
    interleaved = origins.in_one_session(a, b)
    found = []
    for name, ours, theirs in (
        ("value", a.seconds.value, b.seconds.value),
        (a.operator, a.seconds.gradient, b.seconds.gradient),
    ):
        if ours and theirs:
            paired = interleaved and len(ours) == len(theirs)
            shift = timings.shift(ours, theirs, paired=paired, alpha=options.alpha)
            medians = float(np.median(ours)), float(np.median(theirs))
            found.append(Timing(name, *medians, shift, "withheld" if why else "", why))
    return tuple(found)


def with_verdicts(changes: Sequence[Change], options: Options) -> list[Change]:
    """The verdicts of all timings that may have one, their p adjusted for one another."""
    tested = [time for change in changes for time in change.times if not time.verdict]
    p = iter(timings.adjusted([time.shift.p for time in tested]))

    def judged(time: Timing) -> Timing:
        if time.verdict:
            return time
        own = next(p)
        verdict, why = timings.judge(time.shift, own, options.effect, options.alpha)
        return replace(time, verdict=verdict, why=why, p=own)

    return [replace(change, times=tuple(judged(time) for time in change.times)) for change in changes]
