"""What the records prove: the verdict, the work done, and why a gradient is dear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffprog import tasks
from diffprog.format import clip, seconds, words
from diffprog.records.cells import Record
from diffprog.report import arrays
from diffprog.report.outcomes import ABSENCES, FAILURES
from diffprog.report.run import tables
from diffprog.report.run.goals import explained, goal

SHORT_CALL = 50e-6
"""Seconds. Below this a call's fixed cost (Python, dispatch, kernel launch) may well be most of what is timed."""

SMALL_WORK = 5e-3
"""Seconds. Below this a value is many small operations, and what an engine does around each of them decides."""
_ENGINE_COST = {
    "eager": "eager dispatch: the way back, recorded first, has several small operations for each forward one",
    "zygote": "Zygote makes and calls a pullback for each small operation",
}


def verdict(records: Sequence[Record]) -> str:
    """One sentence: how many of the cells that were attempted agree, and what became of the others."""
    counts = Counter(record.outcome for record in records)
    attempted = len(records) - sum(counts[outcome] for outcome in ABSENCES)
    if attempted:
        agree = counts["ok"]
        parts = [f"{agree} of {attempted} {'cell agrees' if attempted == 1 else 'cells agree'} with the reference"]
    else:
        parts = ["No cell was computed"]
    for outcome in FAILURES:
        if counts[outcome]:
            verb = "disagree" if outcome == "disagrees" and counts[outcome] > 1 else words(outcome)
            parts.append(f"{counts[outcome]} {verb}")
    for outcome in ABSENCES:
        backends = sorted({record.backend for record in records if record.outcome == outcome})
        if backends:
            parts.append(f"{counts[outcome]} {outcome} ({', '.join(backends)})")
    return "; ".join(parts) + "."


@dataclass(frozen=True)
class Gap:
    """Why cells are missing: the reason and the command that mends it, once for all the cells that share them."""

    outcome: str
    backends: str
    cells: int
    reason: str
    mend: str


def gaps(records: Sequence[Record]) -> list[Gap]:
    """The distinct reasons behind unavailable and unsupported cells, unavailable ones first."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for outcome in reversed(ABSENCES):
        for record in records:
            if record.outcome == outcome:
                groups.setdefault((outcome, clip(record.reason), record.mend), []).append(record)
    return [
        Gap(outcome, ", ".join(sorted({r.backend for r in members})), len(members), reason or "no reason given", mend)
        for (outcome, reason, mend), members in groups.items()
    ]


@dataclass(frozen=True)
class Invariant:
    """A count of work that every cell of a case must report alike."""

    case: str
    name: str
    equal: bool
    cells: int
    text: str


def invariants(records: Sequence[Record]) -> list[Invariant]:
    """The work invariants of each case, over all cells that computed something."""
    found: list[Invariant] = []
    for case, members in arrays.by_case(records).items():
        adaptive = tasks.get(case.task).adaptive if case.task in tasks.known() else ()
        compared = [record for record in members if record.outcome in arrays.COMPARABLE]
        fixed = [record for record in compared if record.method not in adaptive]
        for name in dict.fromkeys(name for record in fixed for name in record.invariants):
            # An adaptive solver chooses its own steps: only what does not depend on them is asked of it.
            ran = [record for record in compared if record in fixed or name in record.invariants]
            groups: dict[int | None, list[str]] = {}
            for record in ran:
                groups.setdefault(record.invariants.get(name), []).append(_short(record))
            if len(groups) == 1:
                text = f"{next(iter(groups))}"
            else:
                text = "; ".join(
                    f"{'not reported' if number is None else number}: {', '.join(dict.fromkeys(who))}"
                    for number, who in groups.items()
                )
            found.append(Invariant(case.key, name, len(groups) == 1, len(ran), text))
    return found


def _short(record: Record) -> str:
    return f"{tables.label(record)} · {record.precision} · {record.device}"


def dear(cell: Mapping[str, Any]) -> str:
    """Why this cell's gradient takes more values than its goal; empty if it does not. ``cell``: a row of ``cells``.

    A jvp and an hvp have no goal.
    """
    ratio, limit = cell["gradient_over_value"], goal(cell["task"], cell["method"])
    if cell["operator"] != "gradient" or ratio is None or ratio <= limit:
        return ""
    reasons = []
    if cell["engine"] in ("forward", "forwarddiff"):
        reasons.append(f"forward mode: a pass for each of {cell['parameters']} parameters, several at a time")
    if own := explained(cell["task"], cell["method"], ratio, cell["parameters"]):
        reasons.append(own)
    # Parameter shift is forward evaluations only: what the way back costs an engine does not explain it.
    backwards = cell["method"] != "parameter_shift"
    if backwards and cell["engine"] in _ENGINE_COST and cell["value_median_s"] < SMALL_WORK:
        reasons.append(_ENGINE_COST[cell["engine"]])
    elif cell["value_median_s"] < SHORT_CALL:
        reasons.append(f"a value takes only {seconds(cell['value_median_s'])}: the fixed cost of a call may decide")
    reason = "; ".join(reasons) or "not explained: worth a look"
    return f"{reason}; the timing is noisy" if cell["noisy"] else reason
