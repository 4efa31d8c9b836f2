"""What a reader of a run must know besides its tables: what may have touched the numbers, and what is gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from diffprog import tasks
from diffprog.records import npz
from diffprog.records.cells import Record
from diffprog.report import arrays
from diffprog.run import variables


def notes(folder: Path, records: Sequence[Record]) -> list[str]:
    """Sentences, the gravest first."""
    return [*_arrays(folder, records), *_zero_blocks(records), *_leaders(records), *_contention(records),
            *_variables(records)]  # fmt: skip


def _zero_blocks(records: Sequence[Record]) -> Iterator[str]:
    """Parameters of users' models whose gradient is zero throughout."""
    found: dict[tuple[str, tuple[str, ...]], dict[str, None]] = {}
    for record in records:
        if record.agreement is not None and record.agreement.zero_blocks:
            found.setdefault((record.cell.case.key, record.agreement.zero_blocks), {})[record.backend] = None
    for (case, blocks), backends in found.items():
        yield (
            f"{case}: the gradient of {', '.join(blocks)} is zero throughout ({', '.join(backends)}): the loss does "
            "not depend on it, at these inputs at least."
        )


def _leaders(records: Sequence[Record]) -> Iterator[str]:
    """What users' models were judged by: no reference by hand, but the first gradient that is the differences'."""
    found: dict[tuple[str, str], list[float]] = {}
    for record in records:
        told = record.agreement
        led = told is not None and told.reference == "itself" and record.task not in tasks.NAMES
        if led and record.operator == "gradient" and told is not None and told.finite_differences is not None:
            found.setdefault((record.task, record.backend), []).append(told.finite_differences)
    for (task, backend), errors in found.items():
        yield (
            f"{task} has no reference by hand: {backend} is what the others are judged by, since its gradient is the "
            f"first that agrees with finite differences (within {max(errors):.0e})."
        )


def _arrays(folder: Path, records: Sequence[Record]) -> Iterator[str]:
    """Files that are damaged, or gone from among others: pictures and pairs are without them."""
    if not (folder / "arrays").is_dir():
        return  # a folder that was left without any, as those under reports/reference are
    lost, others = list[str](), list[str]()
    for record in records:
        if record.arrays and record.outcome in arrays.COMPARABLE:
            found = arrays.results(folder, record)
            if found is None:
                lost.append(record.arrays)
            elif record.outcome == "ok" and not npz.belongs(found, record):
                others.append(record.arrays)
    for case in dict.fromkeys(record.cell.case for record in records if record.outcome in arrays.COMPARABLE):
        if arrays.inputs(folder, case) is None:
            lost.append(f"arrays/{case.key}/inputs.npz")
    for files, told in (
        (lost, "Missing or damaged, and so left out of pairs and pictures"),
        (others, "Not the answers that their records are of"),
    ):
        if files:
            more = f" and {len(files) - 3} more" if len(files) > 3 else ""
            yield f"{told}: {', '.join(files[:3])}{more}. `diffprog run … --resume` measures such cells again."


def _contention(records: Sequence[Record]) -> Iterator[str]:
    found = [record for record in records if record.provenance and record.provenance.contended]
    if found:
        count = f"{len(found)} cells were" if len(found) > 1 else "1 cell was"
        yield f"{count} measured on a processor that another run had claimed too: the two may have slowed each other."


def _variables(records: Sequence[Record]) -> Iterator[str]:
    found: dict[tuple[str, str], dict[str, None]] = {}
    for record in records:
        for name, value in record.provenance.environment.items() if record.provenance else ():
            found.setdefault((name, value), {})[record.backend] = None
    if found:
        told = "; ".join(f"{name}={value} ({', '.join(backends)})" for (name, value), backends in found.items())
        yield f"Variables of this user's environment that workers had: {told}."
    warm = variables.warm([name for name, _ in found])
    if warm:
        yield f"First calls may have found what was compiled before: {', '.join(dict.fromkeys(warm))} was kept."
