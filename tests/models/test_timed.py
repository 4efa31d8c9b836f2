"""What is timed of a model is what its author would call, and no operation more: θ is cut before."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffprog import tasks
from diffprog.backends import get
from diffprog.backends.base import Ask, Prepared
from tests.models.conftest import Folder

TASK = """
import numpy as np


def draw(seed):
    rng = np.random.default_rng(seed)
    params = {"w": rng.normal(size=(3, 2)), "b": rng.normal(size=2), "a": 0.5, "unused": rng.normal(size=4)}
    return params, {"X": rng.normal(size=(5, 3))}
"""
LOSS = """
import {module} as xp


def loss(params, data):
    return (params["a"] * xp.tanh(data["X"] @ params["w"] + params["b"])).sum() ** 2
"""


def prepared(home: Path, backend: str, ask: Ask) -> tuple[Prepared, dict[str, np.ndarray]]:
    """A cell in float64, and its inputs."""
    task = tasks.add(home)
    config = task.configure("model", "tiny")
    inputs = task.draw(config, 0)
    opened = get(backend)
    opened.open("float64", "cpu", 1)
    return opened.prepare(task.name, config, "model", inputs, ask), inputs


def written(home: Path, backend: str) -> Callable[..., Any]:
    """The author's own function."""
    spec = importlib.util.spec_from_file_location("written", home / f"on_{backend}.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    found: Callable[..., Any] = made.loss
    return found


def named(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    theta = inputs["params"]
    return {"w": theta[:6].reshape(3, 2), "b": theta[6:8], "a": theta[8], "unused": theta[9:]}


def test_torch_makes_no_operation_more(folder: Folder) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils._python_dispatch import TorchDispatchMode

    home = folder("kinds", task=TASK, torch=LOSS.format(module="torch"))
    cell, inputs = prepared(home, "torch", Ask("gradient", "eager"))
    loss = written(home, "torch")
    params = {name: torch.tensor(x).requires_grad_() for name, x in named(inputs).items()}
    data = {"X": torch.tensor(inputs["X"])}

    class Counting(TorchDispatchMode):  # type: ignore[misc]  # mypy takes torch for Any
        def __init__(self) -> None:
            super().__init__()
            self.found: Counter[str] = Counter()

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.found[str(func)] += 1
            return func(*args, **(kwargs or {}))

    def by_author() -> Any:
        found = loss(params, data)
        return found.detach(), torch.autograd.grad(found, tuple(params.values()), materialize_grads=True)

    def value_by_author() -> Any:
        with torch.no_grad():
            return loss(params, data)

    for timed, author in ((cell.derivative, by_author), (cell.value, value_by_author)):
        with Counting() as ours:
            timed()
        with Counting() as theirs:
            author()
        assert ours.found == theirs.found and ours.found.total() > 3


def test_jax_compiles_the_same_program(folder: Folder) -> None:
    jax = pytest.importorskip("jax")
    home = folder("kinds", task=TASK, jax=LOSS.format(module="jax.numpy"))
    cell, inputs = prepared(home, "jax", Ask("gradient", "reverse"))
    device = jax.devices("cpu")[0]
    loss = written(home, "jax")
    params, data = jax.device_put((named(inputs), {"X": inputs["X"]}), device)

    def program(function: Any, *arguments: Any) -> str:
        return re.sub(r"@jit_\w+", "@program", function.lower(*arguments).as_text())

    for timed, author in ((cell.derivative, jax.value_and_grad(loss)), (cell.value, loss)):
        assert isinstance(timed, partial)
        assert program(timed.func, *timed.args) == program(jax.jit(author), params, data)


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_it_can_be_asked_elsewhere(folder: Folder, backend: str) -> None:
    """Numbers too, which are no views of θ in every framework."""
    pytest.importorskip(backend)
    module = {"numpy": "numpy", "torch": "torch", "jax": "jax.numpy"}[backend]
    text = LOSS.format(module=module) + "\n\ndef gradient(params, data):\n    raise NotImplementedError\n"
    home = folder("kinds", task=TASK, **{backend: text})
    cell, inputs = prepared(home, backend, Ask("value"))
    assert cell.elsewhere is not None
    theta = inputs["params"].copy()
    theta[8] *= 2  # a, squared in the loss
    first = cell.fetch_value(cell.value())
    assert cell.elsewhere(cell.value, cell.fetch_value, theta) == pytest.approx(4 * first, rel=1e-14)
    assert cell.fetch_value(cell.value()) == first


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, in forward mode
@pytest.mark.parametrize("operator", ["gradient", "hvp"])
@pytest.mark.parametrize("engine", ["eager", "func"])
def test_derivatives_by_name_come_in_the_order_of_theta(folder: Folder, operator: str, engine: str) -> None:
    torch = pytest.importorskip("torch")
    home = folder("kinds", task=TASK, torch=LOSS.format(module="torch"))
    direction = np.linspace(-1, 1, 13)
    cell, inputs = prepared(home, "torch", Ask(operator, engine, direction=direction))
    loss, theta, data = written(home, "torch"), torch.tensor(inputs["params"]), {"X": torch.tensor(inputs["X"])}

    def flat(x: Any) -> Any:
        return loss({"w": x[:6].reshape(3, 2), "b": x[6:8], "a": x[8], "unused": x[9:]}, data)

    slope, (_, found) = torch.func.grad(flat)(theta), cell.fetch(cell.derivative())
    expected = slope if operator == "gradient" else torch.func.hessian(flat)(theta) @ torch.tensor(direction)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, in forward mode
def test_second_derivatives_of_a_linear_loss_are_zero(folder: Folder) -> None:
    pytest.importorskip("torch")
    home = folder("linear", task=TASK, torch="def loss(params, data):\n    return params['w'].sum() + params['a']\n")
    cell, _ = prepared(home, "torch", Ask("hvp", "eager", direction=np.ones(13)))
    np.testing.assert_array_equal(cell.fetch(cell.derivative())[1], np.zeros(13))
