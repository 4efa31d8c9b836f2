"""Reads the arrays that a run left behind. A missing or damaged file is None: a report never fails for its want."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffprog.records import npz
from diffprog.records.cells import Record
from diffprog.spec import BACKENDS, Arrays, Case

COMPARABLE = ("ok", "disagrees")
"""Outcomes that come with a gradient to compare."""


def read(path: Path) -> Arrays | None:
    """The arrays of an .npz file, or None if it is missing or damaged."""
    try:
        return npz.read(path)
    except npz.Damaged:
        return None


def inputs(folder: Path, case: Case) -> Arrays | None:
    """The case's inputs: ``params`` and its data."""
    return read(folder / "arrays" / case.key / "inputs.npz")


def results(folder: Path, record: Record) -> Arrays | None:
    """A cell's ``value``, ``gradient`` and outputs; None unless it computed something comparable."""
    if record.outcome not in COMPARABLE:
        return None
    cell = record.cell
    return read(folder / (record.arrays or f"arrays/{cell.case.key}/{cell.key}.npz"))


def rank(record: Record) -> tuple[bool, bool, int, bool]:
    """Sorts the reference first, then float64 before float32, the backends in their usual order, the CPU first."""
    return (
        record.agreement is None or record.agreement.reference != "itself",
        record.precision != "float64",
        BACKENDS.index(record.backend) if record.backend in BACKENDS else len(BACKENDS),
        record.device != "cpu",
    )


def by_case(records: Sequence[Record]) -> dict[Case, list[Record]]:
    """The records of each case, the cases in order of appearance."""
    cases: dict[Case, list[Record]] = {}
    for record in records:
        cases.setdefault(record.cell.case, []).append(record)
    return cases
