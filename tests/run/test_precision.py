"""Work against precision: the ladder runs, errors fall with their order, failures are points and not the end."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from diffprog import tasks
from diffprog.errors import UsageError
from diffprog.report.run import work_precision
from diffprog.run import precision
from diffprog.run.driver import Settings
from diffprog.spec import Case

CASE = Case("flow", "ring", "tiny", 0)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[precision.Point]]:
    folder = tmp_path_factory.mktemp("precision")
    return folder, precision.measure(CASE, ["numpy", "julia"], folder, Settings(samples=1, seconds=0))


def test_rk4_converges_with_its_order(points: tuple[Path, list[precision.Point]]) -> None:
    for method in ("discrete", "backsolve"):
        found = [p for p in points[1] if (p.backend, p.method) == ("numpy", method)]
        doubled = [
            (a, b) for a, b in pairwise(found) if a.value_evaluations and b.value_evaluations == 2 * a.value_evaluations
        ]
        assert len(doubled) >= 3
        for coarse, fine in doubled:
            assert coarse.value_error and fine.value_error and coarse.gradient_error and fine.gradient_error
            assert 10 < coarse.value_error / fine.value_error < 25
            assert 10 < coarse.gradient_error / fine.gradient_error < 25


def test_the_solver_meets_its_tolerance(points: tuple[Path, list[precision.Point]]) -> None:
    found = [p for p in points[1] if (p.backend, p.method) == ("numpy", "library")]
    assert [p.setting for p in found][-1] == "rtol=1e-11"
    assert not [p for p in found if p.outcome != "ok"]
    last = found[-1]
    assert last.gradient_error is not None
    assert last.gradient_error < 1e-10
    assert (last.gradient_evaluations or 0) > (last.value_evaluations or 0) > 0


def test_what_is_not_there_is_told(points: tuple[Path, list[precision.Point]]) -> None:
    """No Julia was looked for, so its points are unavailable, and the table has them all the same."""
    folder, found = points
    config = tasks.get("flow").configure("ring", "tiny")
    assert len(found) == 2 * len(precision.rungs("flow", config))
    assert {p.outcome for p in found if p.backend == "julia"} == {"unavailable"}
    table = work_precision.read(folder / precision.FILE)
    assert table is not None
    assert len(table) == len(found)
    figure = work_precision.draw(table)
    assert figure is not None
    assert len(figure.axes) == 4


def test_nothing_to_draw(tmp_path: Path) -> None:
    assert work_precision.read(tmp_path / "absent.csv") is None
    precision.write(tmp_path, [precision.Point("c", "jax", "discrete", "steps=1", "crashed", "gone")])
    table = work_precision.read(tmp_path / precision.FILE)
    assert isinstance(table, pd.DataFrame)
    assert work_precision.draw(table) is None


def test_a_task_without_a_ladder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no ladder"):
        precision.measure(Case("qcbm", "gaussian", "tiny", 0), ["numpy"], tmp_path, Settings())


@pytest.mark.parametrize("fault", ["value 0", "late value", "late gradient"])
def test_a_point_whose_timed_function_gives_another_answer_disagrees(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ladder = [("backsolve", {"steps": 10}), ("discrete", {"steps": 10})]
    monkeypatch.setattr("diffprog.tasks.flow.precision.ladder", lambda config: ladder)
    command = [sys.executable, str(Path(__file__).with_name("faulty_worker.py")), fault, "backsolve"]
    bad, good = precision.measure(CASE, ["numpy"], tmp_path, Settings(samples=5, seconds=0, command=command))
    assert (bad.outcome, bad.reason) == ("disagrees", "what was timed gives another answer")
    assert good.outcome == "ok"
