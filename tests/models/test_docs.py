"""docs/own-tasks.md: the model that it shows is right on every backend that is there, and its picture is drawn."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from diffprog import tasks
from diffprog.backends.find_julia import Search
from diffprog.drawing import style
from diffprog.models import declaring
from diffprog.report.run import pictures
from diffprog.run import driver, fits
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
    for framework in ("torch", "jax"):
        pytest.importorskip(framework)
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
@pytest.mark.thorough
def test_a_fit_in_julia_has_the_losses_of_torch(shown: Path, julia: Search, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (shown / "on_jax.py").unlink()
    running = fits.FitRun(tmp_path / "fit", driver.Settings(julia=julia, time_limit=300.0))
    running.start()
    asked = fits.Request(tasks.add(shown).name, optimisers=("adam", "lbfgs"), steps=60, rate=0.01)
    found = running.run(fits.planned(asked))
    assert [(fit.backend, fit.outcome) for fit in found] == [
        (backend, "ok") for backend in ("torch", "julia") for _ in range(2)
    ], [fit.reason for fit in found]
    adam = next(fit for fit in found if fit.backend == "julia" and fit.optimiser == "adam")
    assert adam.reference == "torch" and adam.deviation is not None and adam.deviation < 1e-8
    with np.load(tmp_path / "fit" / adam.arrays) as ours, np.load(tmp_path / "fit" / found[0].arrays) as theirs:
        np.testing.assert_allclose(ours["theta"], theirs["theta"], rtol=1e-6)
        np.testing.assert_allclose(ours["probability"], theirs["probability"], rtol=1e-6)


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
