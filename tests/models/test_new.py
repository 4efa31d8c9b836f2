"""``diffprog new``: what it writes works as it is, on the backends that were asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffprog import tasks
from diffprog.models import declaring, loading
from diffprog.models import new as making
from diffprog.spec import BACKENDS
from tests.command_line import call, refused
from tests.models.conftest import Own


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_folder_and_what_to_do_next(here: Path) -> None:
    done = call("new", "wine")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.splitlines() == [
        "wine: task.py, on_numpy.py, on_torch.py, on_jax.py, on_julia.jl, README.md, .gitignore",
        "Next:",
        "  diffprog run --task ./wine",
        "  diffprog fit ./wine",
    ]
    text = (here / "wine" / "README.md").read_text()
    assert text.startswith("# wine\n") and "diffprog run --task ./wine\n" in text
    assert "{" not in text
    assert all(f"`{file}`" in text for file in loading.FILES.values())
    task = declaring.task(here / "wine")
    assert task.backends == BACKENDS
    config = task.configure("model", "tiny")
    assert {block.name for block in task.layout(config).blocks} == {"W", "b", "V", "c"}
    kinds = {name: array.dtype.kind for name, array in task.draw(config, 0).items()}
    assert kinds == {"params": "f", "X": "f", "y": "i", "decay": "f"}


def test_only_the_files_that_were_asked_for(here: Path) -> None:
    assert call("new", "sub/wine", "--backend", "julia,torch").returncode == 0
    found = {path.name for path in (here / "sub" / "wine").iterdir()}
    assert found == {"task.py", "on_torch.py", "on_julia.jl", "README.md", ".gitignore"}
    assert "on_jax.py" not in (here / "sub" / "wine" / "README.md").read_text()
    assert "run --task ./sub/wine" in (here / "sub" / "wine" / "README.md").read_text()


@pytest.mark.parametrize(
    ("where", "shown"),
    [("wine", "./wine"), ("a/wine", "./a/wine"), ("../wine", "../wine"), ("/a/wine", "/a/wine"), ("a b", "'./a b'")],
)
def test_what_is_typed_next(where: str, shown: str) -> None:
    assert making.shown(Path(where)) == shown


def test_what_cannot_be_a_task_is_refused(here: Path) -> None:
    (here / "full").mkdir()
    (here / "full" / "thesis.tex").touch()
    (here / "file").touch()
    for arguments, told in (
        (["full"], "full is not empty (it holds thesis.tex): choose another name, or an empty folder"),
        (["file"], "file is a file: choose another name"),
        (["9lives"], "the folder 9lives cannot name a task: letters, digits, - and _ make a name"),
        (["my wine"], "the folder my wine cannot name a task"),
        (["class"], "'class' is a word of Python's own: choose another name"),
        (["qcbm"], "there is a task qcbm already: choose another name"),
        (["sub/flow"], "there is a task flow already"),
        (["wine", "--backend", "tensorflow"], "there is no backend 'tensorflow'; there are: numpy, torch, jax, julia"),
        ([""], "the name of a file or folder is empty"),
    ):
        assert told in refused(call("new", *arguments))
    assert sorted(path.name for path in here.iterdir()) == ["file", "full"]
    (here / "empty").mkdir()
    assert call("new", "empty", "--backend", "jax").returncode == 0


def test_a_folder_that_cannot_be_written_is_told(here: Path) -> None:
    (here / "file").touch()
    assert "cannot be written" in refused(call("new", "file/wine"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, in forward mode
def test_the_new_model_is_right_on_every_backend(here: Path, own: Own) -> None:
    for framework in ("torch", "jax"):
        pytest.importorskip(framework)
    making.write(here / "wine", ["numpy", "torch", "jax"])
    records = own(here / "wine", operators=("gradient", "jvp", "hvp"), precisions=("float64", "float32"))
    outcomes = {(record.backend, record.operator, record.precision): record.outcome for record in records}
    for backend in ("torch", "jax"):
        for operator in ("gradient", "jvp", "hvp"):
            assert outcomes[backend, operator, "float64"] == outcomes[backend, operator, "float32"] == "ok"
    assert outcomes["numpy", "value", "float64"] == "ok"
    for record in records:
        if record.outcome == "ok" and record.operator == "gradient":
            assert record.agreement is not None
            assert record.agreement.outputs.keys() == {"probabilities"} and record.agreement.zero_blocks == ()
    # The network learns: what a user starts from is a model, and not any function.
    task = tasks.get("wine")
    given = task.draw(task.configure("model", "tiny"), 0)
    numpy = loading.module(here / "wine", "on_numpy.py")
    params = task.layout(task.configure("model", "tiny")).split(given["params"])
    odds = numpy.outputs(params, given)["probabilities"]
    assert np.allclose(odds.sum(axis=1), 1)
    assert numpy.loss(params, given) > np.log(3) / 3


def test_from_nothing_to_a_page_as_a_user_does_it(here: Path) -> None:
    """In real workers: the two commands, and the page that the second one names."""
    for framework in ("torch", "jax"):
        pytest.importorskip(framework)
    for arguments in (
        ["new", "wine", "--backend", "torch,jax"],
        ["run", "--task", "./wine", "--seconds", "0.1", "--out", "page"],
    ):
        command = [sys.executable, "-m", "diffprog", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=here)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "2 ok" in done.stdout
    assert "Report: page/index.html" in done.stdout
    page = (here / "page" / "index.html").read_text()
    assert "wine-model-tiny-seed0" in page and "torch" in page and "jax" in page
