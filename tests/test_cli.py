"""The command as users meet it: help, errors in one sentence, exit codes, resume, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffprog import tasks
from diffprog.records.cells import Journal

QUICK = ["run", "--task", "flow", "--variant", "quadratic", "--backend", "numpy", "--seconds", "0", "--no-report"]


def diffprog(
    *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "diffprog", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | (env or {}), cwd=cwd, check=False)


def refused(done: subprocess.CompletedProcess[str], told: str) -> None:
    """One clear sentence on standard error, exit code 2, no traceback."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("diffprog: ")
    assert told in lines[0]


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["list"],
        ["run"],
        ["fit"],
        ["new"],
        ["report"],
        ["precision"],
        ["compare"],
        ["bridge"],
        ["doctor"],
        ["setup-julia"],
    ],
)
def test_every_command_has_help(command: list[str]) -> None:
    done = diffprog(*command, "--help")
    assert done.returncode == 0
    assert "diffprog" in done.stdout or "Usage" in done.stdout
    if command:
        assert f"diffprog {command[0]}" in done.stdout  # an example


def test_list_names_all_there_is() -> None:
    done = diffprog("list")
    assert done.returncode == 0
    words = (
        "density",
        "dominant",
        "parameter_shift",
        "bars_and_stripes",
        "adversarial",
        "checkpointed",
        "804,864",
        "disordered",
        "ising",
        "backsolve",
    )
    for word in (*tasks.NAMES, *words):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--task", "flwo"], "there is no task 'flwo'; there are: classifier, eigensolver, flow, qcbm, trg, vqe"),
        (["--backend", "numpy,tensorflow"], "there is no backend 'tensorflow'"),
        (["--size", "huge"], "there is no size 'huge'; there are: tiny, small, medium, large"),
        (["--precision", "float16"], "there is no precision 'float16'"),
        (["--require", "fortran"], "there is no backend 'fortran'"),
        (["--seed", "one"], "a seed is a whole number"),
        (["--size", "large", "--memory-limit", "1"], "GiB"),
        (["--backend", "julia", "--julia-exe", "/nowhere/julia", "--julia-project", "."], "'/nowhere/julia'"),
        (["--worker", "Rust"], "a worker is NAME=COMMAND, the name in small letters, not 'Rust'"),
        (["--worker", "rust=/nowhere/worker -q"], "there is no program '/nowhere/worker'"),
        (["--config", "/nowhere.toml"], "cannot read the settings file /nowhere.toml"),
    ],
)
def test_wrong_commands_are_refused(tmp_path: Path, arguments: list[str], told: str) -> None:
    refused(diffprog("run", "--out", str(tmp_path / "run"), *arguments), told)
    assert not (tmp_path / "run" / "records.jsonl").exists()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(diffprog(*QUICK, "--out", str(tmp_path / "file" / "run")), "cannot be written")


def test_a_variable_that_points_nowhere_is_refused(tmp_path: Path) -> None:
    env = {"PYTHON_JULIACALL_EXE": "/nowhere/julia", "PYTHON_JULIACALL_PROJECT": str(tmp_path)}
    pytest.importorskip("juliapkg")
    refused(diffprog("run", "--out", str(tmp_path / "run"), env=env), "/nowhere/julia")


def test_run_resume_and_report(tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    done = diffprog(*QUICK, "--out", folder)
    assert done.returncode == 0, done.stderr
    assert "ok" in done.stdout
    before = Journal(tmp_path / "run").path.read_bytes()
    refused(diffprog(*QUICK, "--out", folder), "already holds records")
    assert diffprog(*QUICK, "--out", folder, "--resume").returncode == 0
    assert Journal(tmp_path / "run").path.read_bytes() == before
    done = diffprog("report", folder)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "index.html").exists()
    with Journal(tmp_path / "run").path.open("a") as file:
        file.write("{")
    refused(diffprog("report", folder), "truncated line")
    refused(diffprog("report", str(tmp_path)), "not the folder of a run")


def test_precision(tmp_path: Path) -> None:
    folder = tmp_path / "precision"
    quick = ["precision", "flow", "--variant", "quadratic", "--seconds", "0", "--out", str(folder)]
    done = diffprog(*quick, "--backend", "numpy")
    assert done.returncode == 0, done.stderr
    assert (folder / "figures" / "work_precision.png").exists()
    assert (folder / "work_precision.csv").read_text().startswith("case,backend,method,setting,outcome")
    refused(diffprog("precision", "qcbm", "--out", str(folder)), "no ladder of precision")
    refused(diffprog("precision", "flow", "--variant", "nope"), "no variant 'nope'")
    refused(diffprog("precision", "flow", "--size", "huge"), "no size 'huge'")


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "diffprog",
        *QUICK[:-3],
        "--seconds",
        "60",
        "--no-report",
        "--out",
        str(tmp_path / "run"),
    ]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = Journal(tmp_path / "run")
    deadline = time.monotonic() + 60
    while not (journal.path.exists() and journal.path.read_bytes().endswith(b"\n")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)  # for the record to be counted, too
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "1 of 4 cells are kept" in told
    assert "--resume" in told
    assert "Traceback" not in told
    assert [record.outcome for record in journal.read()] == ["ok"]
