"""Backsolve and the library solvers: order of the error, its known size on a linear problem, memory, absence."""

from __future__ import annotations

import math
import sys
import tracemalloc
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diffprog import tasks
from diffprog.backends import get as get_backend
from diffprog.backends.base import Prepared
from diffprog.errors import Unavailable
from diffprog.spec import Array
from diffprog.tasks.flow import field, runge_kutta
from diffprog.tasks.flow.problem import FlowConfig
from diffprog.tasks.flow.spec import TASK

PYTHON_BACKENDS = ("numpy", "torch", "jax")
SOLVERS = {"numpy": "scipy", "torch": "torchdiffeq", "jax": "diffrax"}


def prepared(backend: str, config: FlowConfig, method: str, precision: str = "float64") -> Prepared:
    if backend != "numpy":
        pytest.importorskip(backend)
    if method == "library":
        pytest.importorskip(SOLVERS[backend])
    opened = get_backend(backend)
    opened.open(precision, "cpu", 1)
    return opened.prepare("flow", config, method, dict(TASK.draw(config, 1)))


def gradient(backend: str, config: FlowConfig, method: str) -> tuple[float, Array]:
    cell = prepared(backend, config, method)
    return cell.fetch(cell.derivative())


def distance(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize("backend", PYTHON_BACKENDS)
@pytest.mark.parametrize("variant", TASK.variants)
def test_backsolve_is_off_by_the_fourth_power_of_the_step(backend: str, variant: str) -> None:
    errors = []
    for steps in (20, 40):
        config = replace(TASK.configure(variant, "tiny"), steps=steps, time=4.0)
        value, exact = gradient("numpy", config, "discrete")
        found, slope = gradient(backend, config, "backsolve")
        assert found == pytest.approx(value, rel=1e-13)
        errors.append(distance(slope, exact))
    assert 12 < errors[0] / errors[1] < 24


@pytest.mark.parametrize(("rate", "gradient_error", "state_error"), [(-1.0, 2.85e-6, 6.95e-7), (-8.0, 0.133, 0.217)])
def test_backsolve_on_the_linear_problem(rate: float, gradient_error: float, state_error: float) -> None:
    """dx/dt = λx in 50 steps of 0.1, loss x(T): the error of dL/dλ, and of x(0) found again.

    Both follow from R(z) = 1 + z + z²/2 + z³/6 + z⁴/24: what is found again is (R(z)R(−z))ᴺ x(0).
    """
    steps, eps = 50, 0.1
    config = replace(TASK.configure("quadratic", "tiny"), dim=1, steps=steps, time=steps * eps)
    # The potential's flow is s·Sx with s = −1 for data; a step of +ε is the one of the linear problem.
    potential = field.Quadratic(config, np.array([rate]))
    nothing = np.zeros(1)
    x, x_bar, tapes = np.ones((1, 1)), np.ones((1, 1)), []
    for _ in range(steps):
        x, _, tape = runge_kutta.step(potential, x, nothing, eps)
        tapes.append(tape)
    for tape in reversed(tapes):
        x_bar = runge_kutta.step_vjp(potential, tape, x_bar, nothing, eps)
    discrete = float(potential.gradient()[0])
    z = rate * eps
    grown = 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24
    assert discrete == pytest.approx(steps * eps * (1 + z + z**2 / 2 + z**3 / 6) * grown ** (steps - 1), rel=1e-12)
    potential.reset()
    x_bar = np.ones((1, 1))
    for _ in range(steps):
        x, x_bar = runge_kutta.step_back(potential, x, x_bar, nothing, eps)
    assert abs(potential.gradient()[0] / discrete - 1) == pytest.approx(gradient_error, rel=5e-3)
    assert abs(x[0, 0] - 1) == pytest.approx(state_error, rel=5e-3)
    back = 1 - z + z**2 / 2 - z**3 / 6 + z**4 / 24
    assert x[0, 0] == pytest.approx((grown * back) ** steps, rel=1e-12)


def peaks(peak: Any) -> dict[str, tuple[float, float]]:
    """What ``peak(config, method)`` says of 20 and of 160 steps."""
    configs = [replace(TASK.configure("ising", "tiny"), steps=steps, hidden=64) for steps in (20, 160)]
    return {method: (peak(configs[0], method), peak(configs[1], method)) for method in ("discrete", "backsolve")}


def flat(found: dict[str, tuple[float, float]]) -> None:
    assert found["discrete"][1] > 5 * found["discrete"][0]  # the measure sees a tape where there is one
    assert found["backsolve"][1] <= 1.02 * found["backsolve"][0]


def test_the_memory_of_backsolve_does_not_grow_with_the_steps_numpy() -> None:
    def peak(config: FlowConfig, method: str) -> float:
        inputs = TASK.draw(config, 0)
        functions = tasks.functions("flow", "numpy", config, method)
        functions.gradient(inputs["params"], inputs)
        tracemalloc.start()
        functions.gradient(inputs["params"], inputs)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return float(most)

    flat(peaks(peak))


def test_the_memory_of_backsolve_does_not_grow_with_the_steps_torch() -> None:
    torch = pytest.importorskip("torch")

    class Kept:
        def __init__(self, tensor: Any) -> None:
            self.tensor = tensor

    def peak(config: FlowConfig, method: str) -> float:
        """The most elements that autograd holds at a time."""
        alive: weakref.WeakSet[Kept] = weakref.WeakSet()
        most = 0

        def pack(tensor: Any) -> Kept:
            nonlocal most
            kept = Kept(tensor)
            alive.add(kept)
            most = max(most, sum(one.tensor.numel() for one in alive))
            return kept

        cell = prepared("torch", config, method)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
            cell.derivative()
        return float(most)

    flat(peaks(peak))


def test_the_memory_of_backsolve_does_not_grow_with_the_steps_jax() -> None:
    jax = pytest.importorskip("jax")

    def peak(config: FlowConfig, method: str) -> float:
        """What XLA lays out for temporaries."""
        inputs = TASK.draw(config, 0)
        theta = inputs.pop("params")
        gradient = jax.jit(tasks.functions("flow", "jax", config, method).gradient)
        return float(gradient.lower(theta, inputs).compile().memory_analysis().temp_size_in_bytes)

    flat(peaks(peak))


@pytest.mark.parametrize("backend", PYTHON_BACKENDS)
@pytest.mark.parametrize("variant", ["density", "ising"])
def test_the_library_solvers_find_what_rk4_converges_to(backend: str, variant: str) -> None:
    config = TASK.configure(variant, "tiny")
    value, exact = gradient("numpy", replace(config, steps=320), "discrete")
    found, slope = gradient(backend, replace(config, rtol=1e-11), "library")
    assert found == pytest.approx(value, rel=1e-9)
    assert distance(slope, exact) < 1e-8


@pytest.mark.parametrize("backend", PYTHON_BACKENDS)
def test_a_tighter_tolerance_costs_evaluations(backend: str) -> None:
    config = TASK.configure("ring", "tiny")
    loose, tight = (prepared(backend, replace(config, rtol=rtol), "library").work() for rtol in (1e-4, 1e-10))
    assert loose["parameters"] == tight["parameters"] == TASK.layout(config).size
    for name in ("adaptive_evaluations", "adaptive_evaluations_gradient"):
        assert 0 < loose[name] < tight[name]


@pytest.mark.parametrize("method", ["backsolve", "library"])
@pytest.mark.parametrize("backend", PYTHON_BACKENDS)
def test_float32_stays_float32_and_is_near(backend: str, method: str) -> None:
    config = TASK.configure("correlated", "tiny")
    _, exact = gradient("numpy", config, "discrete")
    cell = prepared(backend, config, method, "float32")
    _, slope = cell.fetch(cell.derivative())
    assert slope.dtype == np.float32
    assert distance(slope, exact) < (1e-5 if method == "backsolve" else 1e-3)
    assert all(x.dtype == np.float32 for x in cell.outputs().values())


@pytest.mark.parametrize(("backend", "package"), [("torch", "torchdiffeq"), ("jax", "diffrax")])
def test_a_missing_solver_is_unavailable_with_the_command(
    backend: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(backend)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Unavailable, match=package) as caught:
        tasks.functions("flow", backend, TASK.configure("density", "tiny"), "library")
    assert caught.value.mend == f"python -m pip install {package}"


def test_a_solver_that_gives_up_is_an_error_not_an_answer() -> None:
    config = replace(TASK.configure("quadratic", "tiny"), time=1e300)
    inputs = TASK.draw(TASK.configure("quadratic", "tiny"), 0)
    functions = tasks.functions("flow", "numpy", config, "library")
    with pytest.raises(ArithmeticError), np.errstate(all="ignore"):
        value = functions.value(inputs["params"], inputs)
        if not math.isfinite(value):
            raise ArithmeticError("not finite")
