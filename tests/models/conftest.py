"""Folders of users' models, written for a test, and runs of them within the test's process."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from diffprog import tasks
from diffprog.models import loading
from diffprog.records import protocol
from diffprog.records.cells import Record
from diffprog.run import driver, environment, plan
from diffprog.run.processors import Claim
from diffprog.run.relay import Relay
from diffprog.worker import serve

TASK = """\
import numpy as np


def draw(seed):
    rng = np.random.default_rng(seed)
    params = {"W": rng.normal(size=(3, 2)), "b": rng.normal(size=2)}
    data = {"X": rng.normal(size=(5, 3)), "y": rng.integers(0, 2, 5)}
    return params, data
"""
NUMPY = """\
import numpy as np


def loss(params, data):
    Z = np.tanh(data["X"] @ params["W"] + params["b"])
    return ((Z[:, 0] - data["y"]) ** 2).mean() + (Z[:, 1] ** 2).sum()
"""
TORCH = NUMPY.replace("import numpy as np", "import torch").replace("np.", "torch.")
JAX = NUMPY.replace("import numpy as np", "import jax.numpy as jnp").replace("np.", "jnp.")
LOSSES = {"on_numpy.py": NUMPY, "on_torch.py": TORCH, "on_jax.py": JAX}
"""One and the same model; a test plants its mistake into one of them."""

Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Writes a folder of a task: ``folder(torch=…, jax=…, task=…, name="mine")``, each the text of its file.

    Skips the test where one of these frameworks is not installed.
    """

    def write(name: str = "mine", *, task: str = TASK, others: dict[str, str] | None = None, **losses: str) -> Path:
        for backend in losses.keys() - {"julia"}:
            pytest.importorskip(backend)
        home = tmp_path / name
        home.mkdir()
        (home / loading.DECLARATION).write_text(task)
        for file, text in {loading.FILES[backend]: text for backend, text in losses.items()}.items():
            (home / file).write_text(text)
        for file, text in (others or {}).items():
            (home / file).write_text(text)
        return home

    return write


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test made known of tasks is not known to the next one."""
    path, known, modules = sys.path[:], dict(tasks._added), {*sys.modules}
    yield
    sys.path[:] = path
    tasks._added.clear()
    tasks._added.update(known)
    for name in {*sys.modules} - modules:
        if name.startswith("diffprog_model_") or name in ("helper", "common"):
            del sys.modules[name]


class InProcess:
    """A worker within the test's process: it answers as one of its own does, but for dying."""

    alive = True
    claim = Claim()

    def __init__(self) -> None:
        self.worker = serve.Worker(io.BytesIO())

    def ask(self, request: protocol.Request, *_: Any) -> protocol.Reply:
        return self.worker.answer(request)

    def strayed(self) -> str:
        return ""

    def close(self) -> None: ...

    kill = close

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Here(driver.Run):
    """A run whose workers are in this process."""

    def relay(self, group: plan.Group) -> Relay:
        def opening() -> protocol.Open:
            # What this process has loaded already may have as many threads as there are processors.
            threads = environment.cores()
            return protocol.Open(group.backend, group.precision, group.device, threads, protocol.VERSION)

        return Relay(InProcess, opening, 300.0)  # type: ignore[arg-type]


Own = Callable[..., list[Record]]


@pytest.fixture
def own(tmp_path: Path) -> Own:
    """Runs the task of a folder within this process; nothing is timed. The report folder is ``tmp_path/run``."""

    def run(
        home: Path, backends: Sequence[str] | None = None, operators: Sequence[str] = ("gradient",), **request: Any
    ) -> list[Record]:
        name = tasks.add(home).name
        running = Here(tmp_path / "run", driver.Settings(samples=0, seconds=0.0))
        running.start(resume=(tmp_path / "run" / "records.jsonl").exists())
        asked = plan.Request(
            (name,), backends=None if backends is None else tuple(backends), operators=tuple(operators), **request
        )
        return running.run(plan.cells(asked))

    return run


LINE = """\
import numpy as np


def draw(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(20, 3))
    data = {"X": X, "y": X @ np.array([1.0, -2.0, 0.5]) + 0.1 * rng.normal(size=20)}
    return {"w": rng.normal(size=3), "b": 0.5}, data
"""
BY_HAND = """\
def rest(params, data):
    return data["X"] @ params["w"] + params["b"] - data["y"]


def loss(params, data):
    return (rest(params, data) ** 2).mean()


def gradient(params, data):
    r = rest(params, data)
    return (r**2).mean(), {"w": 2 * data["X"].T @ r / r.size, "b": 2 * r.mean()}


def outputs(params, data):
    return {"rest": rest(params, data)}
"""
"""A straight line in NumPy with its gradient by hand: a model whose workers start at once."""


@pytest.fixture
def line(folder: Folder) -> Path:
    """The folder of a model that one quick backend computes."""
    return folder("line", task=LINE, numpy=BY_HAND)
