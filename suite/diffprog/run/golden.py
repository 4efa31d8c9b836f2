"""Runs the cells of the baselines: the reference to write them, every backend to check against them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from diffprog import tasks
from diffprog.agree import baselines, rounding
from diffprog.agree.baselines import Baseline, Golden, Regression
from diffprog.agree.tolerances import NOISE_FACTOR, NOISE_MOST
from diffprog.errors import UsageError
from diffprog.records.cells import Record
from diffprog.run import driver, environment, files, plan
from diffprog.spec import Arrays, Case, Cell
from diffprog.version import __version__

OPERATORS = ("gradient", "jvp", "hvp")
MOST_PARAMETERS = 512
"""A case with more is left out: the files are kept in the repository, and a tiny case has the same code."""
MOST_OF_A_USER = 50_000
"""Of a user's model, which may have no smaller case: a megabyte or so."""

_SIZES = ("tiny", "small")
"""What baselines hold without being asked for more."""
_MEND = "`diffprog baseline write` makes a whole one"


def cases(names: Sequence[str], sizes: Sequence[str]) -> list[Case]:
    """The cases that a baseline holds, seed 0."""
    found = []
    for name in names:
        task = tasks.get(name)
        for variant in task.variants:
            for size in task.sizes:
                most = MOST_PARAMETERS if task.folder is None else MOST_OF_A_USER
                if size in sizes and task.layout(task.configure(variant, size)).size <= most:
                    found.append(Case(name, variant, size, 0))
    return found


def write(
    folder: Path, work: Path, chosen: Sequence[Case], settings: driver.Settings, listen: driver.Listener
) -> list[Path]:
    """Computes the reference's answers in ``work`` and writes the baselines of their tasks to ``folder``.

    Raises:
        UsageError: if an answer of the reference is not ok, or a file cannot be written.
    """
    running = driver.Run(work, settings, listen)
    running.start(resume=False)
    records = _leading(running.run([cell for case in chosen for cell in candidates(case)]))
    for record in records:
        if record.outcome != "ok":
            raise UsageError(f"no baseline was written: {record.cell.name} is {record.outcome}: {record.reason}")
    written = []
    for task in dict.fromkeys(case.task for case in chosen):
        mine = [case for case in chosen if case.task == task]
        origin = next(record.provenance for record in records if record.task == task)
        assert origin is not None
        baseline = Baseline(
            task=task,
            written=datetime.now(UTC).isoformat(timespec="seconds"),
            provenance={
                "suite": __version__, "commit": environment.commit(), "source": origin.source,
                "cpu": origin.cpu,
                "platform": origin.platform, **origin.versions,
            },
            cases=[_golden(case, [r for r in records if r.cell.case == case], work) for case in mine],
        )  # fmt: skip
        written.append(baselines.write(folder, baseline))
    return written


def candidates(case: Case) -> list[Cell]:
    """The cells whose answers may become golden: the reference's, or every backend's where any may lead."""
    references = [plan.reference_cell(case, operator) for operator in OPERATORS]
    found = [cell for cell in references if cell is not None]
    if found:
        return found
    request = plan.Request(
        tasks=(case.task,), variants=(case.variant,), sizes=(case.size,), operators=OPERATORS, seeds=(case.seed,)
    )
    return [cell for cell in plan.cells(request) if cell.operator != "value" and not tasks.limit(cell)]


def _leading(records: Sequence[Record]) -> list[Record]:
    """Of each case and operator the one that the others were judged by; the first failure where there is none."""
    found: dict[tuple[Case, str], Record] = {}
    for record in records:
        key = record.cell.case, record.operator
        if key not in found or (found[key].outcome != "ok" and record.outcome == "ok"):
            found[key] = record
    return list(found.values())


def _golden(case: Case, records: Sequence[Record], work: Path) -> Golden:
    answers = {record.operator: files.load(work / record.arrays) for record in records}
    return Golden(
        variant=case.variant,
        size=case.size,
        seed=case.seed,
        inputs=baselines.fingerprints(files.load(files.write_inputs(work, case))),
        value=float(answers["gradient"]["value"]),
        derivatives={operator: baselines.encode(arrays[operator]) for operator, arrays in answers.items()},
    )


@dataclass
class Check:
    """What a check found, cell by cell."""

    records: list[Record] = field(default_factory=list)
    regressions: list[Regression] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """Regressions, and cells that came to no answer, as sentences."""
        bad = [
            f"{record.cell.name}: {record.outcome.replace('_', ' ')}: {record.reason}"
            for record in self.records
            if record.outcome not in ("ok", "unsupported", "unavailable")
        ]
        return [*map(str, self.regressions), *bad]


def check(
    folder: Path, work: Path, request: plan.Request, settings: driver.Settings, listen: Callable[[int], driver.Listener]
) -> Check:
    """Computes every cell of the request that a baseline knows and compares it with the golden answer.

    Args:
        folder: where the baselines lie.
        work: an empty folder for the run.
        listen: given the number of cells, the run's listener.

    Raises:
        UsageError: if a baseline is missing, stale or not to be believed, or none has a case of the request.
    """
    found = {name: baselines.read(folder, name) for name in request.tasks or tasks.NAMES}
    asked = [cell for cell in plan.cells(request) if tasks.get(cell.case.task).by_hand or not tasks.limit(cell)]
    for case in dict.fromkeys(cell.case for cell in asked):
        _check_holds(folder, found[case.task], case)
    cells = [cell for cell in asked if _known(found[cell.case.task], cell.case)]
    if not cells:
        raise UsageError(f"the baselines in {folder} have none of the cases asked for")
    running = driver.Run(work, settings, listen(len(cells)))
    running.start(resume=False)
    # Stale baselines are told before anything is computed.
    right = {
        case: baselines.golden(found[case.task], case, files.load(files.write_inputs(work, case)))
        for case in dict.fromkeys(cell.case for cell in cells)
    }
    for cell in cells:
        answers = right[cell.case]
        if cell.operator != "value" and (answers is None or not {cell.operator, "gradient"} <= answers[1].keys()):
            raise UsageError(f"the baseline of {cell.case.key} lacks its {cell.operator}: {_MEND}")
    records = running.run(cells)
    regressions = [one for record in records for one in _compare(record, work, right[record.cell.case])]
    return Check(records, regressions)


def _check_holds(folder: Path, baseline: Baseline, case: Case) -> None:
    """Refuses a baseline that lacks a case which `write` would put into it."""
    if case in cases([case.task], _SIZES) and not _known(baseline, case):
        raise UsageError(f"the baseline {baselines.path(folder, case.task)} lacks {case.key}: {_MEND}")


def _known(baseline: Baseline, case: Case) -> bool:
    return (case.variant, case.size, case.seed) in {(one.variant, one.size, one.seed) for one in baseline.cases}


def _compare(record: Record, work: Path, right: tuple[float, Arrays] | None) -> Iterator[Regression]:
    if right is None or record.agreement is None or not record.arrays:
        return
    cell: Cell = record.cell
    arrays = files.load(work / record.arrays)
    # What a method that approximates should answer is not the golden answer.
    allowed = record.agreement.tolerance + (record.agreement.approximation or 0.0)
    found = baselines.compare(cell.case, cell.name, cell.operator, arrays, right, allowed)
    if found:  # another processor rounds otherwise, which an ill-conditioned case shows
        off = min(NOISE_FACTOR * _noise(record, work), NOISE_MOST)
        found = baselines.compare(cell.case, cell.name, cell.operator, arrays, right, max(allowed, off))
    yield from found


def _noise(record: Record, work: Path) -> float:
    """What rounding does to a case: the reference's, or where there is none by hand what the cell found out itself."""
    task, cell, said = tasks.get(record.task), record.cell, record.agreement
    if not task.by_hand:
        return 0.0 if said is None else max(said.value_noise or 0.0, said.noise or 0.0)
    operator = "gradient" if cell.operator == "value" else cell.operator
    method = task.reference_method(cell.case.variant)
    noise = rounding.noise(cell.case, method, operator, files.load(files.write_inputs(work, cell.case)))
    return max(noise.value, noise.derivative)
