"""Tasks that an installed distribution brings, by the entry points ``diffprog.tasks``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diffprog import tasks
from diffprog.cli import models
from diffprog.errors import UsageError
from tests.command_line import call, refused
from tests.models.conftest import BY_HAND, LINE

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Lays out an installed distribution: ``install("acme-lines", task="line", package="acme_lines.line")``."""
    added = []

    def lay(distribution: str, task: str, package: str, *, version: str = "1.2", with_task: bool = True) -> Path:
        site = tmp_path / f"site-{distribution}"
        home = site.joinpath(*package.split("."))
        home.mkdir(parents=True)
        for part in (home, *list(home.parents)[: package.count(".")]):
            (part / "__init__.py").touch()
        if with_task:
            (home / "task.py").write_text(LINE)
            (home / "on_numpy.py").write_text(BY_HAND)
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[diffprog.tasks]\n{task} = {package}\n")
        monkeypatch.syspath_prepend(site)
        added.append(package.partition(".")[0])
        importlib.invalidate_caches()
        return home

    yield lay
    for package in added:
        for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
            del sys.modules[name]


def test_it_is_a_task_by_its_name(install: Install, tmp_path: Path) -> None:
    home = install("acme-lines", "line", "acme_lines.line")
    assert [(point.name, models.origin(point)) for point in models.installed()] == [("line", "acme-lines 1.2")]
    done = call("list")
    assert done.returncode == 0, done.stderr
    assert "line: " in done.stdout and "from: acme-lines 1.2" in done.stdout and "from: the suite" in done.stdout
    done = call("run", "--task", "line", "--samples", "0", "--no-report", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 ok" in done.stdout
    assert tasks.get("line").folder == home
    assert "from: acme-lines 1.2" in call("list", "line").stdout


def test_two_of_one_name_are_refused(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acme-lines", "line", "acme_lines.line")
    install("other", "line", "other.line", version="3")
    told = "two tasks are called line: acme-lines 1.2 and other 3; uninstall one of them"
    for command in (["list"], ["run", "--task", "line"], ["fit", "line"], ["new", "curve"]):
        assert told in refused(call(*command))


def test_one_like_the_suites_own_is_refused(install: Install) -> None:
    install("acme-flows", "flow", "acme.flow")
    told = "two tasks are called flow: the one of the suite and that of acme-flows 1.2; uninstall that"
    for command in (["list"], ["run", "--task", "flow"]):
        assert told in refused(call(*command))


def test_a_folder_here_of_the_same_name_is_refused(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-lines", "line", "acme_lines.line")
    (tmp_path / "here" / "line").mkdir(parents=True)
    for name, text in (("task.py", LINE), ("on_numpy.py", BY_HAND)):
        (tmp_path / "here" / "line" / name).write_text(text)
    monkeypatch.chdir(tmp_path / "here")
    told = "two tasks are called line: the folder ./line and the one of acme-lines 1.2; rename the folder"
    assert told in refused(call("run", "--task", "line"))
    assert models.name_of("./line") == "line"  # which is meant is clear
    assert tasks.get("line").folder == tmp_path / "here" / "line"
    with pytest.raises(UsageError, match="two tasks are called line"):
        models.add(models.installed()[0])
    assert "there is a task line already" in refused(call("new", "sub/line"))


def test_a_folder_here_that_is_named_by_its_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "line").mkdir()
    for name, text in (("task.py", LINE), ("on_numpy.py", BY_HAND)):
        (tmp_path / "line" / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    assert models.named(["line", "./line", "line"]) == ("line",)
    (tmp_path / "flow").mkdir()
    assert models.name_of("flow") == "flow"  # a folder that is no task takes nobody's name
    (tmp_path / "flow" / "task.py").write_text(LINE)
    with pytest.raises(
        UsageError, match=r"two tasks are called flow: the folder ./flow and the one of the suite; renam"
    ):
        models.name_of("flow")


@pytest.mark.parametrize(
    ("task", "package", "told"),
    [
        ("curve", "acme_lines.line", "acme-lines 1.2 calls a task curve whose folder is called line"),
        ("line", "acme_lines.line", "is no task: it has no task.py"),
    ],
)
def test_one_that_is_none_is_told(install: Install, task: str, package: str, told: str) -> None:
    install("acme-lines", task, package, with_task=task != "line")
    assert told in refused(call("run", "--task", task))
    done = call("list")  # the others are listed
    assert done.returncode == 0
    assert told in done.stderr
    assert "from: the suite" in done.stdout


def test_one_that_is_not_there_is_told(install: Install) -> None:
    home = install("acme-lines", "line", "acme_lines.line")
    (home / "task.py").unlink()
    (home / "on_numpy.py").unlink()
    (home / "__init__.py").unlink()
    home.rmdir()
    told = "the task line of acme-lines 1.2 is not there: acme_lines.line is no package"
    assert told in refused(call("run", "--task", "line"))
