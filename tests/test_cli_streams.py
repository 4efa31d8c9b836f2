"""Standard output of any kind, and Ctrl-C at any moment: the run is not lost, and the end is a sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from diffprog.records.cells import FILE

QUICK = (
    "run",
    "--task",
    "flow",
    "--variant",
    "quadratic",
    "--method",
    "discrete",
    "--backend",
    "numpy",
    "--seconds",
    "0",
)
C_LOCALE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
ASCII = {"PYTHONIOENCODING": "ascii"}


def thorough(*values: object) -> Any:
    """One more of a kind that is tried anyway: each of these starts Python and its libraries twice or more."""
    return pytest.param(*values, marks=pytest.mark.thorough)


CODES = [
    ASCII,
    thorough({"PYTHONIOENCODING": "ascii:strict"}),
    thorough({"PYTHONIOENCODING": "cp1252"}),
    {"PYTHONIOENCODING": "utf-16"},
    C_LOCALE,
    thorough(C_LOCALE | {"PYTHONIOENCODING": "latin-1"}),
    {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "1"},
    thorough({"COLUMNS": "0", "LINES": "0", "TERM": ""}),
]
INTERRUPTED = """
import os, signal, sys
if "ignored" not in os.environ:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests' own shell may ignore it
at, kind, *arguments = sys.argv[1:]
done = False
def now():
    global done
    if not done:
        done = True
        os.kill(os.getpid(), signal.SIGINT)
def hook(event, told):
    if event == kind and isinstance(told[0], str) and told[0].endswith(at):
        now()
sys.addaudithook(hook)
sys.argv[1:] = arguments
from diffprog.cli import main
main()
"""


def start(
    *arguments: str, env: Mapping[str, str] | None = None, shell: str = "", code: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """Runs the command, or ``code`` with its arguments; ``shell`` is what a shell does with its output."""
    command = [sys.executable, *(("-c", code) if code else ("-m", "diffprog")), *arguments]
    if shell:
        command = ["bash", "-o", "pipefail", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.run(command, capture_output=True, env=os.environ | (env or {}), check=False, timeout=120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's."""
    made = tmp_path_factory.mktemp("streams") / "run"
    done = start(*QUICK, "--no-report", "--out", str(made))
    assert done.returncode == 0, done
    return made


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "copy")


def whole(copy: Path, folder: Path) -> bool:
    """Whether the report is there, and the records are as they were."""
    return (copy / "index.html").exists() and (copy / FILE).read_bytes() == (folder / FILE).read_bytes()


@pytest.mark.parametrize("env", CODES, ids=str)
def test_characters_degrade_and_nothing_else(env: Mapping[str, str], copy: Path, folder: Path) -> None:
    others = (("run", "--help"), ("list",)) if env in (ASCII, C_LOCALE) else ()
    for arguments in (("report", str(copy)), *others):
        done = start(*arguments, env=env)
        assert done.returncode == 0, done
        assert b"Traceback" not in done.stderr
    assert whole(copy, folder)
    assert "–" in (copy / "index.html").read_text(encoding="utf-8")  # in files nothing degrades


def test_a_run_without_a_locale_is_the_same(tmp_path: Path) -> None:
    done = start(*QUICK, "--out", str(tmp_path / "run"), env=C_LOCALE | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done
    assert done.stdout.decode("ascii").splitlines()[-1].startswith("Report: ")
    assert (tmp_path / "run" / "summary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "shell",
    [
        ">/dev/full",
        thorough("2>/dev/full"),
        thorough(">/dev/full 2>&1"),
        thorough(">&-"),
        "2>&-",
        ">&- 2>&- <&-",
        thorough("| head -c 1"),
        "| true",
    ],
)
def test_output_that_nobody_takes(shell: str, copy: Path, folder: Path) -> None:
    done = start("report", str(copy), shell=shell)
    assert done.returncode == 0, done
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    assert whole(copy, folder)
    told = b"standard output could not be written" in done.stderr
    assert told == (shell == ">/dev/full")


@pytest.mark.parametrize("arguments", [("list",), ("run", "--help"), ("run", "--task", "nope")], ids=" ".join)
def test_a_result_that_is_only_printed_must_arrive(arguments: tuple[str, ...]) -> None:
    assert start(*arguments, shell=">/dev/full").returncode == (0 if "--help" in arguments else 2)
    assert start(*arguments, shell="| true").returncode == (2 if "nope" in arguments else 0)


@pytest.mark.parametrize(
    "module", ["diffprog.cli.guard", "numpy", "typer", "rich.console", "diffprog.cli.run", "diffprog.tasks"]
)
def test_ctrl_c_before_anything_began(module: str, tmp_path: Path) -> None:
    done = start(module, "import", *QUICK, "--out", str(tmp_path / "run"), code=INTERRUPTED)
    assert done.returncode == 130, done
    assert done.stderr == b"diffprog: stopped before anything began.\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        ("pandas", "import"), thorough("matplotlib.figure", "import"), thorough("PIL", "import"),
        ("diffprog.report.run.page", "import"),
        ("cells.csv", "open"), (".png", "open"), thorough(".svg", "open"),
        thorough("summary.md.part", "open"), ("index.html.part", "open"), thorough("environment.json", "open"),
    ],
)  # fmt: skip
def test_ctrl_c_while_the_report_is_written(at: str, kind: str, copy: Path, folder: Path) -> None:
    done = start(at, kind, "report", str(copy), code=INTERRUPTED)
    assert done.returncode == 130, done
    # Another run on this machine may have been told besides.
    told = [line for line in done.stderr.decode().splitlines() if line and "had claimed too" not in line]
    assert len(told) == 1, told
    assert told[0].startswith("Stopped. ")
    assert (copy / FILE).read_bytes() == (folder / FILE).read_bytes()
    assert start("report", str(copy)).returncode == 0
    assert whole(copy, folder)


@pytest.mark.parametrize(("at", "kind"), [(FILE, "open"), ("inputs.partial.npz", "open"), ("subprocess", "import")])
def test_ctrl_c_at_the_start_of_a_run(at: str, kind: str, tmp_path: Path) -> None:
    done = start(at, kind, *QUICK, "--no-report", "--out", str(tmp_path / "run"), code=INTERRUPTED)
    assert done.returncode == 130, done
    assert b"Traceback" not in done.stderr
    assert b"topped" in done.stderr
    again = start(*QUICK, "--no-report", "--out", str(tmp_path / "run"), "--resume")
    assert again.returncode == 0, again


def test_a_library_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise TypeError('of\\nanother – version')", encoding="utf-8")
    done = start("list", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 3
    assert done.stderr.startswith(b"diffprog: a library cannot be loaded (TypeError: of another \\u2013 version); ")
    assert done.stderr.count(b"\n") == 1


def test_ctrl_c_that_is_ignored_stays_ignored(copy: Path) -> None:
    """As `nohup` and a shell's background jobs have it."""
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + INTERRUPTED
    done = start("index.html.part", "open", "report", str(copy), code=code, env={"ignored": "1"})
    assert done.returncode == 0, done
