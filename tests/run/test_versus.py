"""Two installations measured in turn: a copy of the suite, changed where a test plants something, beside this one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from suite.errors import UsageError
from suite.records import Journal, Record
from suite.report import comparison
from suite.run import driver, installation, plan, versus

ROOT = Path(__file__).parents[2]
REQUEST = plan.Request(tasks=("flow",), variants=("correlated",), backends=("numpy",), methods=("discrete",))
Copy = Callable[..., Path]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Copies the suite; ``changes`` are (file, what stands there, what takes its place)."""

    def make(*changes: tuple[str, str, str]) -> Path:
        folder = tmp_path / "other"
        shutil.copytree(ROOT / "suite", folder / "suite", ignore=shutil.ignore_patterns("__pycache__"))
        for name, old, new in changes:
            path = folder / "suite" / name
            text = path.read_text()
            assert old in text
            path.write_text(text.replace(old, new))
        return folder

    return make


def measure(tmp_path: Path, other: Path, *, resume: bool = False) -> tuple[Record, Record]:
    """The one cell of REQUEST in the other installation and in this one."""
    found = installation.find(str(other))
    theirs = driver.Settings(seconds=0.0, command=found.command, installation=found, in_turn=True)
    before = driver.Run(tmp_path / "before", theirs)
    after = driver.Run(tmp_path / "after", driver.Settings(seconds=0.0, in_turn=True))
    before.start(resume=resume)
    after.start(resume=resume)
    (first,), (second,) = versus.Session(before, after).run(plan.cells(REQUEST))
    return first, second


def test_samples_are_taken_in_turn_and_each_side_says_what_it_is(copy: Copy, tmp_path: Path) -> None:
    first, second = measure(tmp_path, copy(("tasks/flow/reference.py", "import numpy", "\nimport numpy")))
    assert (first.outcome, second.outcome) == ("ok", "ok")
    for phase in ("value", "gradient"):
        assert len(getattr(first.seconds, phase)) == len(getattr(second.seconds, phase)) == 9
    a, b = first.provenance, second.provenance
    assert a is not None
    assert b is not None
    assert a.session == b.session != ""
    assert a.source != b.source
    found = comparison.compare(tmp_path / "before", tmp_path / "after", comparison.Options())
    assert [change.kind for change in found.changes] == ["same"]
    assert all(time.shift.paired for time in found.changes[0].times)
    assert found.exit_code(fail_on_slower=True) in (0, 1)
    again = measure(tmp_path, tmp_path / "other", resume=True)  # nothing is measured again
    assert again == (first, second)


def test_a_regressed_gradient_is_exit_code_1(copy: Copy, tmp_path: Path) -> None:
    other = copy(("measure/worker.py", "arrays[self.operator] = cell.fetch(result)", "g = cell.fetch(result)\n" +
                  " " * 12 + "arrays[self.operator] = g * (1 + 1e-9)"))  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "suite.cli",
        "run",
        "--task",
        "flow",
        "--variant",
        "correlated",
        "--backend",
        "numpy",
    ]
    command += ["--method", "discrete", "--seconds", "0", "--no-report", "--versus", str(other)]
    done = subprocess.run([*command, "--out", str(tmp_path / "run")], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"the gradient moved by 1\.00e-09", done.stdout), done.stdout
    assert len(Journal(tmp_path / "run" / "before").read()) == len(Journal(tmp_path / "run" / "after").read()) == 1


def test_a_planted_slowness_is_found(copy: Copy, tmp_path: Path) -> None:
    told = "return protocol.Sampled(run(request.calls) / request.calls)"
    measure(tmp_path, copy(("measure/worker.py", told, told.replace("run(", "100 * run(", 1))))
    found = comparison.compare(tmp_path / "before", tmp_path / "after", comparison.Options())
    assert [time.verdict for time in found.changes[0].times] == ["faster", "faster"]


def test_a_side_that_dies_costs_its_own_cell(copy: Copy, tmp_path: Path) -> None:
    first, second = measure(
        tmp_path,
        copy(("measure/worker.py", "        call = self.prepared.derivative", "        os._exit(7)\n        call = 1")),
    )
    assert first.outcome == "crashed"
    assert "exit code 7" in first.reason
    assert second.outcome == "ok"
    assert len(second.seconds.gradient) == 9
    assert second.provenance is not None
    assert second.provenance.session == ""


def test_what_is_no_other_installation_is_refused(copy: Copy, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a Python executable nor a folder"):
        installation.find(str(tmp_path))
    with pytest.raises(UsageError, match="this very suite"):
        installation.find(str(ROOT))
    with pytest.raises(UsageError, match="cannot be measured beside this one"):
        installation.find(str(copy(("measure/protocol.py", "VERSION = 1", "VERSION = 99"))))
    (tmp_path / "other" / "suite" / "spec.py").write_text("nonsense(")
    with pytest.raises(UsageError, match="SyntaxError"):
        installation.find(str(tmp_path / "other"))
