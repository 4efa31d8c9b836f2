"""A run within a budget: order, what is left, resuming; and references that come from another run."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffprog import tasks
from diffprog.cli.budget import duration
from diffprog.errors import UsageError
from diffprog.records.cells import Journal, Record
from diffprog.report.run import tables
from diffprog.report.run.notes import notes
from diffprog.run import budget, driver, files, plan
from diffprog.run.budget import Budgeted
from diffprog.run.references import take
from diffprog.spec import Cell

SMALL = plan.Request(
    tasks=("qcbm", "flow"), variants=("gaussian", "quadratic"), backends=("numpy",), methods=("reverse", "discrete"),
    sizes=("tiny",), precisions=("float64", "float32"),
)  # fmt: skip
ONE = dataclasses.replace(
    SMALL, tasks=("flow",), variants=("quadratic",), methods=("discrete",), precisions=("float64",)
)
FAULTY = str(Path(__file__).with_name("faulty_worker.py"))
WIDE = plan.Request(
    backends=("torch", "jax"), sizes=("tiny", "small", "large"), precisions=("float32", "float64", "tf32"),
    devices=("cuda",), engines=("all",), operators=("gradient", "hvp"),
)  # fmt: skip


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def within(
    folder: Path, request: plan.Request, seconds: float, clock: Clock | None = None, **settings: object
) -> Budgeted:
    chosen = driver.Settings(samples=9, seconds=0.0)
    running = Budgeted(
        folder,
        dataclasses.replace(chosen, **settings),  # type: ignore[arg-type]
        budget=seconds,
        wanted=plan.cells(request, references=False),
        clock=clock or Clock(),
    )
    running.start(resume=True)
    return running


def test_one_of_each_comes_first_then_sizes_precisions_engines() -> None:
    wanted = plan.cells(WIDE, references=False)
    asked, firsts = set(wanted), budget.first_of_each(wanted)
    ordered = [cell for cell in budget.order(plan.cells(WIDE), wanted) if cell in asked]
    assert sorted(ordered, key=repr) == sorted(wanted, key=repr)
    tiers = [budget.tier(cell, firsts) for cell in ordered]
    assert tiers == sorted(tiers)
    assert set(tiers) == {0, 1, 2, 3, 4}
    count = tiers.count(0)
    assert {(c.case.task, c.backend) for c in ordered[:count]} == {(c.case.task, c.backend) for c in wanted}
    assert count == 2 * len(tasks.NAMES)
    assert {(c.case.size, c.precision, c.operator) for c in ordered[:count]} == {("tiny", "float64", "gradient")}
    assert {c.engine for c in ordered[:count]} == {"eager", "reverse"}


def test_references_stand_before_the_first_that_needs_them() -> None:
    cells = plan.cells(WIDE)
    ordered = budget.order(cells, plan.cells(WIDE, references=False))
    assert sorted(ordered, key=repr) == sorted(cells, key=repr)
    place = {cell: number for number, cell in enumerate(ordered)}
    for cell in ordered:
        assert all(place[reference] <= place[cell] for reference in plan.needed_by(cell))
    assert ordered[0] == plan.reference_cell(ordered[1].case)


def test_what_does_not_fit_is_left_and_resumed(tmp_path: Path) -> None:
    clock = Clock()
    running = within(tmp_path, SMALL, 2 * budget.GUESS["tiny"] - 1, clock)

    def tick(what: str, cell: Cell | None) -> None:
        clock.now += 16.0 if what == "done" else 0.0

    running.listener = tick
    cells = plan.cells(SMALL)
    first = running.run(cells)
    assert [record.outcome for record in first] == ["ok"]
    assert {record.cell.name for record in first} | {c.name for c in running.left} == {c.name for c in cells}
    assert {record.cell.name for record in Journal(tmp_path).read()} == {first[0].cell.name}
    again = within(tmp_path, SMALL, 1e6).run(cells)
    assert [record.outcome for record in again] == ["ok"] * 4
    assert [r.started for r in again if r.cell == first[0].cell] == [first[0].started]


def test_a_cell_that_the_end_cuts_off_has_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hanging worker is stopped at the end of the budget, long before its own time limit: nobody's failure."""
    monkeypatch.setitem(budget.GUESS, "tiny", 2.0)
    running = Budgeted(
        tmp_path,
        driver.Settings(samples=9, seconds=0.0, command=(sys.executable, FAULTY, "hang", "discrete")),
        budget=budget.GUESS["tiny"] + 1.0,
        wanted=plan.cells(ONE, references=False),
    )
    running.start(resume=False)
    assert running.run(plan.cells(ONE)) == []
    assert [cell.method for cell in running.left] == ["discrete"]
    assert not Journal(tmp_path).path.exists()


def test_a_failure_of_its_own_is_recorded_all_the_same(tmp_path: Path) -> None:
    running = within(tmp_path, ONE, 1e6, command=(sys.executable, FAULTY, "hang", "discrete"), time_limit=5.0)
    assert [record.outcome for record in running.run(plan.cells(ONE))] == ["timed_out"]
    assert not running.left


def test_references_nobody_asked_for_are_not_timed(tmp_path: Path) -> None:
    asked = dataclasses.replace(SMALL, tasks=("flow",), variants=("quadratic",), methods=("checkpointed",))
    records = within(tmp_path, asked, 1e6).run(plan.cells(asked))
    timed = {record.method: len(record.seconds.gradient) for record in records}
    assert timed == {"discrete": 0, "checkpointed": 9}
    assert {record.outcome for record in records} == {"ok"}


def test_later_cells_are_expected_to_take_what_those_before_took(tmp_path: Path) -> None:
    clock = Clock()
    running = within(tmp_path, SMALL, 1e6, clock)
    tiny = plan.cells(SMALL)[0]
    other = dataclasses.replace(tiny, precision="float32")
    larger = dataclasses.replace(tiny, case=dataclasses.replace(tiny.case, size="medium"))
    assert running.expected(tiny) == budget.GUESS["tiny"]
    assert running.expected(larger) == budget.GUESS["medium"]
    running.listener = lambda what, cell: setattr(clock, "now", clock.now + (3.0 if what == "done" else 0.0))
    running.run([tiny])
    assert running.expected(other) == 3.0
    assert running.expected(larger) == 3.0 * budget.GROWTH**2
    resumed = within(tmp_path, SMALL, 1e6)
    assert 0 < resumed.expected(other) < 30


@pytest.fixture(scope="module")
def numpy_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of NumPy's cells, nothing timed."""
    folder = tmp_path_factory.mktemp("references")
    running = driver.Run(folder, driver.Settings(samples=0, seconds=0.0))
    running.start(resume=False)
    assert {record.outcome for record in running.run(plan.cells(SMALL))} == {"ok"}
    return folder


def borrowed(folder: Path, theirs: Path, request: plan.Request) -> tuple[list[Cell], list[Record]]:
    running = driver.Run(folder, driver.Settings(samples=9, seconds=0.0))
    running.start(resume=folder.joinpath("records.jsonl").exists())
    cells = take(running, theirs, plan.cells(request), plan.cells(request, references=False))
    return cells, running.run(cells)


CHECKPOINTED = dataclasses.replace(SMALL, tasks=("flow",), variants=("quadratic",), methods=("checkpointed",))


def test_references_of_another_run_judge_this_one(numpy_run: Path, tmp_path: Path) -> None:
    cells, records = borrowed(tmp_path, numpy_run, CHECKPOINTED)
    assert {cell.method for cell in cells} == {"checkpointed"}
    assert [record.outcome for record in records] == ["ok", "ok"]
    assert {r.agreement.reference for r in records if r.agreement} == {"numpy-hand-discrete-gradient-float64-cpu"}
    name = f"arrays/{cells[0].case.key}/inputs.npz"
    theirs, ours = files.load(numpy_run / name), files.load(tmp_path / name)
    assert all(np.array_equal(theirs[key], ours[key]) for key in theirs)
    assert borrowed(tmp_path, numpy_run, CHECKPOINTED)[1] == records  # resumed: nothing is measured again


def test_a_wrong_gradient_is_caught_by_a_borrowed_reference(numpy_run: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    shutil.copytree(numpy_run, theirs)
    for record in Journal(theirs).read():
        path = theirs / record.arrays
        arrays = files.load(path)
        files.save(path, arrays | {"gradient": -arrays["gradient"]})
    _, records = borrowed(tmp_path / "ours", theirs, CHECKPOINTED)
    assert {record.outcome for record in records} == {"disagrees"}


def test_what_the_other_run_lacks_is_computed_here(numpy_run: Path, tmp_path: Path) -> None:
    request = dataclasses.replace(CHECKPOINTED, seeds=(1,))
    cells, records = borrowed(tmp_path, numpy_run, request)
    assert {cell.method for cell in cells} == {"discrete", "checkpointed"}
    assert {record.outcome for record in records} == {"ok"}


def test_references_that_do_not_fit_are_refused(numpy_run: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    shutil.copytree(numpy_run, theirs)
    journal = theirs / "records.jsonl"
    journal.write_text(journal.read_text().replace('"source":"', '"source":"other'))
    with pytest.raises(UsageError, match="another version of task flow"):
        borrowed(tmp_path / "a", theirs, CHECKPOINTED)
    with pytest.raises(UsageError, match="holds no records"):
        borrowed(tmp_path / "b", tmp_path / "nowhere", CHECKPOINTED)
    with pytest.raises(UsageError, match="another run's folder"):
        borrowed(numpy_run, numpy_run, CHECKPOINTED)
    borrowed(tmp_path / "mine", numpy_run, CHECKPOINTED)
    files.save(tmp_path / "mine" / "arrays" / "flow-quadratic-tiny-seed0" / "inputs.npz", {"params": np.zeros(2)})
    with pytest.raises(UsageError, match="holds other inputs"):
        borrowed(tmp_path / "mine", numpy_run, CHECKPOINTED)


def test_what_was_not_timed_is_timed_when_that_is_asked_for(tmp_path: Path) -> None:
    counts: list[list[int]] = []
    for samples in (0, 9, 0):
        running = driver.Run(tmp_path, driver.Settings(samples=samples, seconds=0.0))
        running.start(resume=bool(counts))
        counts.append([len(record.seconds.value) for record in running.run(plan.cells(ONE))])
    assert counts == [[0], [9], [9]]


def test_a_cache_that_is_kept_is_used_again_and_its_first_calls_are_left_out(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    request = plan.Request(tasks=("qcbm",), variants=("gaussian",), backends=("jax",), methods=("reverse",))
    kept = tmp_path / "compiled"
    seen = []
    for name in ("first", "second"):
        settings = driver.Settings(samples=0, seconds=0.0, compile_cache=kept)
        running = driver.Run(tmp_path / name, settings)
        running.start(resume=False)
        record = running.run(plan.cells(request))[-1]
        assert record.outcome == "ok"
        seen.append({path.name for path in (kept / "jax").iterdir()})
        row = tables.cells([record]).iloc[0]
        assert pd.isna(row["first_gradient_s"]) and pd.isna(row["first_value_s"])
        assert record.seconds.first_gradient is not None  # the record has it, with what explains it
        assert "JAX_COMPILATION_CACHE_DIR" in notes(tmp_path / name, [record])[-1]
    compiled = {name for name in seen[0] if name.endswith("-cache")}
    assert compiled and compiled == {name for name in seen[1] if name.endswith("-cache")}
    plain = driver.Run(tmp_path / "plain", driver.Settings(samples=0, seconds=0.0))
    plain.start(resume=False)
    cold = plain.run(plan.cells(request))[-1]
    assert not pd.isna(tables.cells([cold]).iloc[0]["first_gradient_s"])


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("8m", 480.0), ("1.5h", 5400.0), (" 2m ", 120.0)])
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "0s", "-8m", "8 minutes", "infh", "nanm", "1e3s", "9999999h", "m", "٣m"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="a budget is a time"):
        duration(text)
