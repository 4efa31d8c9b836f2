"""docs/own-tasks.md: the model that it shows is right on every backend that is there, and its picture is drawn."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from diffprog.backends.find_julia import Search
from diffprog.drawing import style
from diffprog.models import declaring
from diffprog.records.cells import Journal
from diffprog.report.run import pictures
from diffprog.run import driver, plan
from tests.command_line import COMMANDS, call
from tests.models.conftest import Own

PAGE = (Path(__file__).parents[2] / "docs" / "own-tasks.md").read_text(encoding="utf-8")
SHOWN = dict(re.findall(r"\*\*`([a-z_.]+)`\*\*\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
"""The files that the page shows in full."""


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    home = tmp_path / "regression"
    home.mkdir()
    for name, text in SHOWN.items():
        (home / name).write_text(text)
    return home


def test_the_page_shows_a_whole_task() -> None:
    assert set(SHOWN) == {"task.py", "on_torch.py", "on_jax.py", "on_julia.jl", "picture.py"}
    assert all(f"| `{name}` |" in PAGE for name in declaring.SETTINGS)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, in forward mode
def test_its_model_and_picture_are_right(shown: Path, own: Own, tmp_path: Path) -> None:
    records = own(shown, ["torch", "jax"], operators=("gradient", "jvp", "hvp"), precisions=("float64", "float32"))
    assert {record.outcome for record in records} == {"ok"}, [record.reason for record in records]
    assert len(records) == 12
    with style.settings():
        figure = pictures.picture(tmp_path / "run", records[0].cell.case, records)
    assert figure is not None
    shown_as = figure.axes[0].get_legend()
    assert shown_as is not None
    legend = [text.get_text() for text in shown_as.get_texts()]
    assert legend[0] == "torch (reference)" and len(legend) == 2


@pytest.mark.julia
def test_its_julia_is_right(shown: Path, julia: Search, own: Own, tmp_path: Path) -> None:
    own(shown, ["torch"])
    running = driver.Run(tmp_path / "run", driver.Settings(samples=0, seconds=0.0, julia=julia))
    running.start(resume=True)
    running.run(plan.cells(plan.Request(("regression",), backends=("torch", "julia"))))
    outcomes = {record.backend: (record.outcome, record.reason) for record in Journal(tmp_path / "run").read()}
    assert outcomes == {"torch": ("ok", ""), "julia": ("ok", "")}


def test_its_commands_are_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with the options that there are; those that take minutes are tried elsewhere."""
    lines = re.findall(r"^diffprog (.*?)(?: +#.*)?$", PAGE, re.MULTILINE)
    assert len(lines) == 7
    monkeypatch.chdir(tmp_path)
    for line in lines:
        words = shlex.split(line)
        assert any(tuple(words[: len(command)]) == command for command in COMMANDS), line
        if words[0] in ("new", "list"):
            done = call(*words)
        else:
            done = call(*words[: 2 if words[0] == "baseline" else 1], "--help")
            options = {word for word in words if word.startswith("--")}
            assert all(option in done.stdout for option in options), line
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "wine" / "task.py").is_file()
