"""References from another run: what judges the cells of this one, without computing it again on dear minutes.

The reference is NumPy's, in float64, on whatever processor; its answers are taken with the inputs that they are of, bit
for bit. Its times stay where they were measured.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from diffprog.errors import UsageError
from diffprog.records.cells import Journal, Record
from diffprog.run import files, installation
from diffprog.run.driver import Run
from diffprog.spec import Arrays, Cell


def take(run: Run, folder: Path, chosen: Sequence[Cell], wanted: Collection[Cell]) -> list[Cell]:
    """Takes what the run in ``folder`` has of the references among ``chosen`` that are not ``wanted`` for themselves.

    Returns:
        the cells that remain to be run.

    Raises:
        UsageError: if there is no run in ``folder``, it is of other sources of a task, or this run has other inputs.
    """
    if folder.resolve() == run.folder.resolve():
        raise UsageError("--references is another run's folder; to go on with a run, --resume is enough")
    found = {record.cell: record for record in Journal(folder).read() if record.outcome == "ok" and record.arrays}
    taken = [cell for cell in chosen if cell not in wanted and cell in found]
    for cell in taken:
        _take(run, folder, found[cell])
    return [cell for cell in chosen if cell not in taken]


def _take(run: Run, folder: Path, record: Record) -> None:
    own = installation.this().source(record.task)
    if record.provenance is None or record.provenance.source != own:
        raise UsageError(
            f"the references in {folder} are of another version of task {record.task}: compute them with this suite"
        )
    case = record.cell.case
    if case not in run.inputs:
        name = Path("arrays") / case.key / "inputs.npz"
        theirs, ours = files.load(folder / name), run.folder / name
        if ours.exists() and not _equal(files.load(ours), theirs):
            raise UsageError(f"{ours} holds other inputs than {folder}: choose a new folder with --out")
        files.save(ours, theirs)
        run.inputs[case] = ours
    run.judge.remember(record, folder)


def _equal(first: Arrays, second: Arrays) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)
