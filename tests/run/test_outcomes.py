"""Workers are really killed, hung and corrupted; the other cells finish, and the records say what happened."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from diffprog.backends.find_julia import Search
from diffprog.records.cells import Journal, Record
from diffprog.run import driver, plan
from tests.conftest import SPARING, Runner

FAULTY = str(Path(__file__).with_name("faulty_worker.py"))
REQUEST = plan.Request(
    tasks=("flow",), variants=("quadratic",), backends=("numpy",), methods=("discrete", "checkpointed")
)
"""Two cells in one worker: ``discrete``, the reference, and ``checkpointed``, which goes wrong."""


@pytest.mark.parametrize(
    ("fault", "outcome", "told"),
    [
        ("SIGSEGV", "crashed", "SIGSEGV"),
        ("SIGKILL", "crashed", "SIGKILL"),
        ("exit", "crashed", "exit code 7; its last words: so long"),
        ("nonsense", "crashed", "cannot be read"),
        ("hang", "timed_out", "no answer within 10 s"),
        ("exception", "error", "RuntimeError: the sky fell"),
        ("memory", "out_of_memory", "Unable to allocate"),
        ("disk", "error", r"No space left on device: the result's \d+ bytes"),
        ("NaN", "disagrees", r"1 of 4 gradient components are not finite, the first is A\[0,1\]"),
        ("sign", "disagrees", "the gradient is off by 2.00e"),
        ("work", "disagrees", "work invariant steps is 9 where the task demands 10"),
    ],
)
def test_a_fault_costs_its_own_cell_only(run: Runner, fault: str, outcome: str, told: str) -> None:
    command = (sys.executable, FAULTY, fault, "checkpointed")
    good, bad = run(REQUEST, command=command, time_limit=10.0 if fault == "hang" else 300.0)
    assert (good.method, good.outcome) == ("discrete", "ok")
    assert (bad.method, bad.outcome) == ("checkpointed", outcome)
    assert re.search(told, bad.reason)
    assert driver.exit_code([good, bad]) == 1


def test_the_cell_after_a_crash_gets_a_fresh_worker(run: Runner) -> None:
    command = (sys.executable, FAULTY, "SIGSEGV", "discrete")
    bad, good = run(REQUEST, command=command)
    assert bad.outcome == "crashed"
    assert good.outcome == "ok"
    assert good.agreement is not None
    assert good.agreement.reference == "itself"  # the reference is gone, so the next float64 gradient leads


def test_resume_runs_what_has_no_final_outcome(run: Runner, tmp_path: Path) -> None:
    run(REQUEST, command=(sys.executable, FAULTY, "SIGKILL", "checkpointed"))
    first = Journal(tmp_path / "run").read()
    again = run(REQUEST, resume=True)
    assert [record.outcome for record in again] == ["ok", "ok"]
    assert again[0] == first[0]  # measured once
    assert again[1].agreement is not None
    assert again[1].agreement.reference == again[0].cell.key


def test_a_run_killed_half_way_keeps_its_cells_and_resumes(run: Runner, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from diffprog.run import driver, plan\n"
        f"settings = driver.Settings(seconds=0.0, command=sys.argv[2:], keep={SPARING})\n"
        "r = driver.Run(pathlib.Path(sys.argv[1]), settings)\n"
        "r.start(resume=False)\n"
        "methods = ('discrete', 'checkpointed')\n"
        "r.run(plan.cells(plan.Request(('flow',), ('quadratic',), backends=('numpy',), methods=methods)))\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "run")]
    marked = tmp_path / "faulty_worker.py"  # a name of its own, to be told from other workers
    marked.write_text(Path(FAULTY).read_text())
    killed = subprocess.Popen([*arguments, sys.executable, str(marked), "hang", "checkpointed"])
    journal = Journal(tmp_path / "run")
    deadline = time.monotonic() + 60
    while not journal.path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    if sys.platform == "linux":  # the worker that hung went with it
        time.sleep(0.2)
        assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or [])]
    assert [record.outcome for record in journal.read()] == ["ok"]
    assert [record.outcome for record in run(REQUEST, resume=True)] == ["ok", "ok"]


def test_julia_that_is_not_there_is_unavailable_with_the_command_that_mends_it(run: Runner) -> None:
    request = plan.Request(tasks=("flow",), variants=("quadratic",), backends=("julia",), methods=("discrete",))
    records = run(request, julia=Search(None, ["nowhere"], "diffprog setup-julia"))
    assert [(r.backend, r.outcome) for r in records] == [("numpy", "ok"), ("julia", "unavailable")]
    assert records[1].reason == "nowhere"
    assert records[1].mend == "diffprog setup-julia"
    assert driver.exit_code(records) == 0
    assert driver.exit_code(records, ["julia"]) == 1
    assert driver.exit_code(records, ["numpy"]) == 0


def outcomes(*names: str) -> list[Record]:
    cell = {"task": "t", "variant": "v", "size": "tiny", "seed": 0, "backend": "b", "method": "m"}
    rest = {"operator": "gradient", "engine": "e", "precision": "float64", "device": "cpu"}
    return [Record(**cell, **rest, outcome=name) for name in names]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["disagrees", "error", "timed_out", "crashed", "out_of_memory"])
def test_exit_codes(name: str) -> None:
    assert driver.exit_code(outcomes("ok", "unsupported", "unavailable")) == 0
    assert driver.exit_code(outcomes("ok", name)) == 1
