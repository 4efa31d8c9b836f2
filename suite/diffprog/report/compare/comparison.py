"""Two runs, cell by cell: which gradients changed, and which times did."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffprog.agree import timings
from diffprog.errors import UsageError
from diffprog.measure.norms import norm
from diffprog.records import fits
from diffprog.records.cells import Journal, Record
from diffprog.report import arrays
from diffprog.report.compare import origins
from diffprog.report.compare.change import CHANGES, Change, Inputs, Options, Timing, change_of, with_verdicts
from diffprog.spec import Case, Cell


@dataclass(frozen=True)
class Comparison:
    """What ``diffprog compare`` shows. ``origins`` are the rows (what, in A, in B) in which the provenances differ."""

    first: Path
    second: Path
    options: Options
    changes: Sequence[Change]
    only_first: int
    only_second: int
    origins: Sequence[tuple[str, str, str]]

    @property
    def times(self) -> list[tuple[Change, Timing]]:
        """Every timing with its cell."""
        return [(change, time) for change in self.changes for time in change.times]

    def exit_code(self, *, fail_on_slower: bool = False) -> int:
        """1 if a gradient regressed, or on demand if a time did; 2 if some could not be compared; 0 otherwise."""
        kinds = {change.kind for change in self.changes}
        slower = fail_on_slower and any(time.verdict == "slower" for _, time in self.times)
        if slower or "regressed" in kinds:
            return 1
        return 2 if "not compared" in kinds else 0


def compare(first: Path, second: Path, options: Options) -> Comparison:
    """Compares the runs in two folders: B, the second, against A, the first.

    Raises:
        UsageError: if one is not the folder of a run or damaged, they are one, or have no cell in common that may be
            compared.
    """
    if first.resolve() == second.resolve():
        raise UsageError(f"{first} and {second} are one folder: give the folders of two runs")
    found_first, found_second = (_read(folder, options) for folder in (first, second))
    _check_kinds(first, found_first, second, found_second)
    common = [cell for cell in found_first if cell in found_second]
    if not common:
        raise UsageError(
            f"{first} ({len(found_first)} cells) and {second} ({len(found_second)} cells) have no cell in common"
        )
    pairs = [(found_first[cell], found_second[cell]) for cell in common]
    cases = {cell.case: Inputs.read(first, second, cell.case) for cell in common}
    norms = _norms(first, found_first)
    changes = [change_of(first, second, a, b, cases[a.cell.case], norms.get(a.cell.case), options) for a, b in pairs]
    return Comparison(
        first, second, options, with_verdicts(changes, options),
        len(found_first) - len(common), len(found_second) - len(common), origins.differences(pairs),
    )  # fmt: skip


def _read(folder: Path, options: Options) -> dict[Cell, Record]:
    journal = Journal(folder)
    if not journal.path.exists() and fits.FitJournal(folder).path.exists():
        raise UsageError(f"{folder} is the folder of a fit: `diffprog compare` takes the folders of two runs")
    records = journal.read()
    for record in records:
        for name in ("value", "gradient", "by_hand_value", "by_hand_gradient"):
            for sample in getattr(record.seconds, name):
                if not (math.isfinite(sample) and sample > 0):
                    raise UsageError(
                        f"{journal.path}: {record.cell.name} has a {name} sample of {sample:g} s: "
                        "a time is positive and finite"
                    )
    chosen = {
        record.cell: record
        for record in records
        if (options.devices is None or record.device in options.devices)
        and (options.precisions is None or record.precision in options.precisions)
    }
    if not chosen:
        raise UsageError(f"{folder} holds no records" + (" of the chosen device and precision" if records else ""))
    return chosen


def _check_kinds(first: Path, a: Mapping[Cell, Record], second: Path, b: Mapping[Cell, Record]) -> None:
    """Refuses runs on different devices or in different precisions: what is compared must have been chosen."""
    for kind in ("device", "precision"):
        ours, theirs = ({getattr(cell, kind): None for cell in run} for run in (a, b))
        if ours.keys() != theirs.keys():
            shared = ",".join(name for name in ours if name in theirs)
            mend = f"compare what they share with --{kind} {shared}" if shared else "so there is nothing to compare"
            a_has, b_has = ", ".join(ours), ", ".join(theirs)
            raise UsageError(f"different {kind}s: {first} was run with {a_has} and {second} with {b_has}; {mend}")


def _norms(folder: Path, records: Mapping[Cell, Record]) -> dict[Case, float]:
    """‖g‖ by case, which the error of a jvp is relative to."""
    found: dict[Case, float] = {}
    for cell, record in records.items():
        if cell.operator == "gradient" and cell.precision == "float64" and cell.case not in found:
            stored = arrays.results(folder, record) or {}
            if "gradient" in stored and np.isfinite(stored["gradient"]).all():
                found[cell.case] = norm(stored["gradient"])
    return found


def rank(change: Change) -> tuple[int, float]:
    """Sorts the worst change first."""
    size = change.relative_l2 if change.relative_l2 is not None else math.inf
    return CHANGES.index(change.kind), -size


def rank_time(item: tuple[Change, Timing]) -> tuple[int, float]:
    """Sorts the worst timing first: the largest slowdown, then the largest gain, then what is unclear."""
    _, time = item
    order = (*timings.VERDICTS[:3], "withheld", timings.VERDICTS[3])
    return order.index(time.verdict), -abs(math.log(time.shift.ratio))
