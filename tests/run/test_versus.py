"""Two installations measured in turn: a copy of the suite, changed where a test plants something, beside this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
from typer.testing import CliRunner

from diffprog.cli import versus as cli_versus
from diffprog.cli.app import app
from diffprog.errors import UsageError
from diffprog.measure import clock
from diffprog.records import protocol
from diffprog.records.cells import Journal, Record
from diffprog.report.compare import comparison
from diffprog.report.compare.change import Options
from diffprog.run import driver, installation, plan, versus
from diffprog.spec import Cell

ROOT = Path(__file__).parents[2]
REQUEST = plan.Request(tasks=("flow",), variants=("correlated",), backends=("numpy",), methods=("discrete",))
SAMPLED = "return protocol.Sampled(run(request.calls) / request.calls)"
WORKER = "worker/serve.py"
WRONG = (WORKER, "arrays[self.operator] = cell.fetch(result)", "g = cell.fetch(result)\n            "
         "arrays[self.operator] = g * (1 + 1e-9)")  # fmt: skip
SLOW = (WORKER, SAMPLED, SAMPLED.replace("run(request.calls)", "run(3 * request.calls)", 1))
Copy = Callable[..., Path]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Copies the suite; ``changes`` are (file, what stands there, what takes its place)."""

    def make(*changes: tuple[str, str, str]) -> Path:
        folder = tmp_path / "other"
        copytree(ROOT / "suite" / "diffprog", folder / "suite" / "diffprog", ignore=ignore_patterns("__pycache__"))
        for change in changes:
            plant(folder, *change)
        return folder

    return make


def plant(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / "suite" / "diffprog" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def measure(
    tmp_path: Path,
    other: Path,
    request: plan.Request = REQUEST,
    *,
    resume: bool = False,
    listener: driver.Listener = lambda what, cell: None,
) -> tuple[list[Record], list[Record]]:
    """The cells in the other installation and in this one."""
    found = installation.find(str(other))
    session = versus.Session(tmp_path / "run", driver.Settings(seconds=0.0), found, listener)
    session.start(resume=resume)
    return session.run(plan.cells(request))


def sessions(*records: Record) -> list[str]:
    return [record.provenance.session for record in records if record.provenance is not None]


def test_samples_are_taken_in_turn_and_each_side_says_what_it_is(copy: Copy, tmp_path: Path) -> None:
    other = copy(("tasks/flow/reference.py", "import numpy", "\nimport numpy"), ("version.py", '"0.', '"9.'))
    (first,), (second,) = measure(tmp_path, other)
    assert (first.outcome, second.outcome) == ("ok", "ok")
    for phase in ("value", "gradient"):
        assert len(getattr(first.seconds, phase)) == len(getattr(second.seconds, phase)) == 9
        assert getattr(first.seconds, f"loops_{phase}") == getattr(second.seconds, f"loops_{phase}") >= 1
    a, b = first.provenance, second.provenance
    assert a is not None
    assert b is not None
    assert a.session == b.session != ""
    assert a.source != b.source
    assert (a.suite, a.commit) == (b.suite.replace("0.", "9.", 1), "")  # a copy is no clone
    folders = tmp_path / "run" / "before", tmp_path / "run" / "after"
    for folder, origin in zip(folders, (a, b), strict=True):
        told = json.loads((folder / "environment.json").read_text())
        assert (told["suite"], told["commit"]) == (origin.suite, origin.commit)
    drawn = [(folder / "arrays" / first.cell.case.key / "inputs.npz").read_bytes() for folder in folders]
    assert drawn[0] == drawn[1]
    found = comparison.compare(*folders, Options())
    assert [change.kind for change in found.changes] == ["same"]
    assert all(time.shift.paired for time in found.changes[0].times)
    assert measure(tmp_path, other, resume=True) == ([first], [second])  # nothing is measured again
    with pytest.raises(UsageError, match="already holds records"):
        measure(tmp_path, other)


class Told(versus.Side):
    """A side that only notes when it is asked for a sample, and may fail at one."""

    def __init__(self, name: str, log: list[str], last: int = 10**6) -> None:
        self.name, self.log, self.last, self.phases = name, log, last, ("value", "gradient")
        self.calls, self.lasts, self._taken = {}, {}, {phase: [] for phase in self.phases}

    def _ask(self, phase: str, calls: int) -> float:
        if len(self.log) >= 4 and self.last == 0:
            raise versus.Failed(protocol.Failure("crashed", "so long"))
        self.last -= len(self.log) >= 4  # what comes before is the warming up
        self.log.append(f"{self.name} {phase}")
        return clock.WARM_UP

    def fail(self, failure: protocol.Failure) -> None:
        self.log.append(f"{self.name} {failure.outcome}")


def test_the_two_change_places_every_round() -> None:
    log: list[str] = []
    sides = [Told("A", log), Told("B", log)]
    assert versus._sampled(sides, driver.Settings(samples=9, seconds=0.0)) == sides
    warming = ["A value", "A gradient", "B value", "B gradient"]
    forth = ["A value", "B value", "A gradient", "B gradient"]
    back = ["B value", "A value", "B gradient", "A gradient"]
    assert log == [*warming, *(forth + back) * 4, *forth]


def test_one_that_fails_leaves_the_other_to_go_on_alone() -> None:
    log: list[str] = []
    sides = [Told("A", log, last=3), Told("B", log)]
    assert versus._sampled(sides, driver.Settings(samples=9, seconds=0.0)) == sides[1:]
    assert log.count("A crashed") == 1
    taken = log[4:]
    assert [taken.count(f"{name} {phase}") for name in "AB" for phase in ("value", "gradient")] == [2, 1, 9, 9]
    log = []
    assert versus._sampled([Told("A", log, 0), Told("B", log, 0)], driver.Settings()) == []
    assert log[4:] == ["A crashed", "B crashed"]
    assert versus._sampled([], driver.Settings()) == []


@pytest.mark.parametrize(
    ("lasts", "calls"),
    [
        ((1e-3, 1e-3), 2), ((1e-3, 1.3e-3), 2), ((1.3e-3, 1e-3), 2),  # by itself, the slower one would have one
        ((1e-6, 1e-6), 2400), ((1e-6, 1e-4), 1000), ((1e-6, 1.0), 1), ((0.5, 0.6), 1), ((0.0, 0.0), 24_000),
    ],
)  # fmt: skip
def test_both_have_as_many_calls_behind_a_sample(lasts: tuple[float, float], calls: int) -> None:
    sides = [Told("A", []), Told("B", [])]
    for side, one in zip(sides, lasts, strict=True):
        side.lasts = dict.fromkeys(side.phases, one)
    versus._settle(sides)
    assert [side.calls for side in sides] == 2 * [{"value": calls, "gradient": calls}]


def diffprog(suite: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command of the suite in a folder, called from another one that has a suite too."""
    command = [sys.executable, "-P", "-m", "diffprog", "run", "--task", "flow", "--variant", "correlated"]
    command += ["--backend", "numpy", "--method", "discrete", "--seconds", "0", "--no-report", "--versus", str(ROOT)]
    env = os.environ | {"PYTHONPATH": str(suite / "suite")}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=ROOT, env=env, check=False)


def test_a_regressed_gradient_is_exit_code_1(copy: Copy, tmp_path: Path) -> None:
    done = diffprog(copy(WRONG), "--out", str(tmp_path / "run"), "--markdown", "-")
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("**✗ 1 cell in both runs: 1 regressed"), done.stdout
    assert "the gradient moved by 1.00e-09" in done.stdout
    for folder in ("before", "after"):
        assert f"Records: {tmp_path / 'run' / folder}" in done.stderr.replace("\n", "")
        assert [record.outcome for record in Journal(tmp_path / "run" / folder).read()] == ["ok"]


def test_a_planted_slowness_is_found_and_fails_on_demand(
    copy: Copy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure(tmp_path, copy(SLOW))
    folder, comment = tmp_path / "run", tmp_path / "comment.md"
    found = comparison.compare(folder / "before", folder / "after", Options())
    assert [time.verdict for time in found.changes[0].times] == ["faster", "faster"]
    for name, other in (("before", "x"), ("after", "before"), ("x", "after")):  # as if this one were the slow one
        (folder / name).rename(folder / other)
    assert cli_versus.show(folder, report=False, markdown=comment, fail_on_slower=False) == 0
    assert cli_versus.show(folder, report=False, markdown=comment, fail_on_slower=True) == 1
    for text in (capsys.readouterr().out, comment.read_text()):
        assert "1 cell in both runs: 1 same; times: 2 slower" in text
        assert "taken in turn in one session (2 of 2)" in text


def test_a_side_that_dies_costs_its_own_cell_and_resuming_measures_both_again(copy: Copy, tmp_path: Path) -> None:
    fault = ("        call = self.prepared.derivative", "        os._exit(7)\n        call = self.prepared.derivative")
    other = copy((WORKER, *fault))
    (first,), (second,) = measure(tmp_path, other)
    assert first.outcome == "crashed"
    assert "exit code 7" in first.reason
    assert second.outcome == "ok"
    assert len(second.seconds.gradient) == 9
    assert sessions(first, second) == ["", ""]
    plant(other, WORKER, *reversed(fault))
    (first,), (again,) = measure(tmp_path, other, resume=True)
    assert (first.outcome, again.outcome) == ("ok", "ok")
    assert again != second
    assert sessions(first)[0] == sessions(again)[0] != ""
    assert [len(Journal(tmp_path / "run" / folder).read()) for folder in ("before", "after")] == [1, 1]


def test_ctrl_c_keeps_what_is_done_on_both_sides(copy: Copy, tmp_path: Path) -> None:
    seen: list[Cell] = []

    def stop(what: str, cell: Cell | None) -> None:
        if what == "sampling in turn" and cell is not None:
            seen.append(cell)
            if len(seen) == 2:
                raise KeyboardInterrupt

    request = plan.Request(tasks=("flow",), variants=("correlated",), backends=("numpy",))
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path, copy(), request, listener=stop)
    kept = [Journal(tmp_path / "run" / folder).read() for folder in ("before", "after")]
    assert [[record.cell for record in records] for records in kept] == [seen[:1], seen[:1]]


def test_a_python_is_an_installation_too(copy: Copy, tmp_path: Path) -> None:
    """Another Python finds its own suite, whatever the parent's environment says."""
    other, python = copy(), tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{other / "suite"}:$PYTHONPATH" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    found = installation.find(str(python))
    assert (found.home, found.command[0]) == (other / "suite" / "diffprog", str(python))


def test_each_side_has_its_own_julia_package(copy: Copy) -> None:
    other = copy()
    (other / "julia").mkdir()
    env = {"JULIA_LOAD_PATH": os.pathsep.join(["@", str(ROOT / "julia"), "@stdlib"])}
    swapped = installation.find(str(other)).environment(env)["JULIA_LOAD_PATH"]
    assert swapped.split(os.pathsep) == ["@", str(other / "julia"), "@stdlib"]
    assert installation.this().environment(env) == env | installation.this().environment({})


def test_the_other_sides_compiled_julia_package_is_kept_apart(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy()
    (folder / "julia").mkdir()
    other = installation.find(str(folder))
    env = {"JULIA_LOAD_PATH": os.pathsep.join(["@", str(ROOT / "julia")]), "HOME": "/home/me"}
    monkeypatch.setenv("HOME", "/home/me")
    own, user, bundled = other.environment(env)["JULIA_DEPOT_PATH"].split(os.pathsep)
    assert (user, bundled) == ("/home/me/.julia", "")  # an empty one stands for those that come with Julia
    assert Path(own).parent == Path("/home/me/.julia/diffprog")
    own, *rest = other.environment(env | {"JULIA_DEPOT_PATH": os.pathsep.join(["/depot", "/site"])})[
        "JULIA_DEPOT_PATH"
    ].split(os.pathsep)
    assert (Path(own).parent, rest) == (Path("/depot/diffprog"), ["/depot", "/site"])


def test_what_is_no_other_installation_is_refused(copy: Copy, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a Python executable nor a folder"):
        installation.find(str(tmp_path))
    with pytest.raises(UsageError, match="this very suite"):
        installation.find(str(ROOT))
    broken = tmp_path / "python"
    broken.write_text("no program")
    broken.chmod(0o755)
    with pytest.raises(UsageError, match="no suite to be had from"):
        installation.find(str(broken))
    with pytest.raises(UsageError, match=r"cannot be measured beside this one: .* version 1 .* version 99"):
        installation.find(str(copy(("records/protocol.py", "VERSION = 1", "VERSION = 99"))))
    (tmp_path / "other" / "suite" / "diffprog" / "spec.py").write_text("nonsense(")
    (tmp_path / "other" / "suite" / "diffprog" / "records" / "protocol.py").write_text("import diffprog.spec")
    with pytest.raises(UsageError, match="SyntaxError"):
        installation.find(str(tmp_path / "other"))


def test_two_workers_must_fit_into_the_memory() -> None:
    cells = plan.cells(REQUEST)
    limit = int(1.5 * plan.estimate(cells[0]))
    plan.check_memory(cells, limit)
    with pytest.raises(UsageError, match="2 times at once"):
        plan.check_memory(cells, limit, at_once=2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--fail-on", "slower"], "they go with --versus"),
        (["--markdown", "-"], "they go with --versus"),
        (["--versus", ".", "--fail-on", "faster"], "there is no verdict to fail on 'faster'"),
        (["--versus", ".", "--worker", f"x={sys.executable}"], "leave --worker out"),
        (["--versus", "/nowhere"], "neither a Python executable nor a folder"),
    ],
)
def test_wrong_commands_are_refused(tmp_path: Path, arguments: list[str], told: str) -> None:
    done = CliRunner().invoke(app, ["run", "--out", str(tmp_path / "run"), *arguments])
    assert isinstance(done.exception, UsageError)
    assert told in str(done.exception)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("spoilt", ["value=lambda: np.float64(0)", "derivative=lambda: (np.float64(1), np.zeros(24))"])
def test_what_was_sampled_in_turn_is_looked_at_again(spoilt: str, tmp_path: Path, copy: Copy) -> None:
    """A side whose function goes wrong while it is sampled was right when it was checked."""
    late = f"self.prepared = dataclasses.replace(self.prepared, {spoilt})\n        "
    before, after = measure(tmp_path, copy((WORKER, SAMPLED, late + SAMPLED)))
    assert {record.outcome for record in after} == {"ok"}
    assert {record.outcome for record in before} == {"disagrees"}
    assert all("after sampling" in record.reason for record in before)
