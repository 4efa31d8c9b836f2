"""A report folder is one run's, and nothing of the user's is written over."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from diffprog.errors import UsageError
from diffprog.run import driver, fits, folders, installation, precision, versus
from diffprog.spec import Case


def start(kind: str, folder: Path) -> None:
    """Begins something in a folder."""
    settings = driver.Settings(seconds=0.0)
    match kind:
        case "run":
            driver.Run(folder, settings).start(resume=False)
        case "resumed run":
            driver.Run(folder, settings).start(resume=True)
        case "fit":
            fits.FitRun(folder, settings).start()
        case "precision":
            precision.measure(Case("flow", "ring", "tiny", 0), [], folder, settings)
        case "versus":
            versus.Session(folder, settings, installation.this()).start(resume=True)


@pytest.mark.parametrize("kind", ["run", "resumed run", "fit", "precision", "versus"])
@pytest.mark.parametrize("name", folders.HOLDS)
def test_a_folder_of_another_kind_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    own = {"resumed run": "records.jsonl", "precision": "records.jsonl", "versus": "before/records.jsonl"}
    if folders.HOLDS[name] == folders.HOLDS.get(own.get(kind, "")):
        pytest.skip("that is its own kind, or one that it goes beside")
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    with pytest.raises(UsageError, match="already holds"):
        start(kind, tmp_path)
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]
    assert path.read_text() == ""


@pytest.mark.parametrize("kind", ["run", "resumed run", "fit", "precision"])
@pytest.mark.parametrize("name", ["summary.md", "index.html", "gpu.html", "environment.json", "tables", "arrays"])
def test_the_users_own_files_are_not_written_over(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(UsageError, match=f"holds {name}, which is not the suite's"):
        start(kind, tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "{}")]


def test_files_that_are_in_nobodys_way_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    start("run", tmp_path)
    start("run", tmp_path)  # it ended before its first record: this is no other's folder
    assert "host" in json.loads((tmp_path / "environment.json").read_text())


@pytest.mark.parametrize("name", ["file", "x" * 300, "a\0b"])
def test_what_can_be_no_folder_of_a_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    for kind in ("run", "fit"):
        with pytest.raises(UsageError):
            start(kind, Path(name))


HOLDER = """
import sys, pathlib
from diffprog.run import folders
held = folders.lock(pathlib.Path(sys.argv[1]))
print(held, flush=True)
input()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no such locks")
@pytest.mark.parametrize("kind", ["run", "resumed run", "fit", "precision"])
def test_a_folder_that_another_process_fills_is_refused(tmp_path: Path, kind: str) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], **pipes) as other:  # type: ignore[call-overload]
        assert b"Lock" in other.stdout.readline()
        with pytest.raises(UsageError, match="another process is writing into"):
            start(kind, tmp_path)
        other.kill()
    if kind != "precision":
        start(kind, tmp_path)
