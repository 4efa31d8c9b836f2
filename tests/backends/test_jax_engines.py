"""JAX's modes on each task: one derivative by several ways, differences, exact figures; and the rules beneath them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from suite import engines, tasks
from suite.backends.base import Ask, Unsupported
from suite.backends.jax_backend import JaxBackend
from suite.measure import finite_differences
from suite.spec import Array, Arrays, Functions
from suite.tasks.trg import exact
from suite.tasks.trg.spec import TrgConfig

jax = pytest.importorskip("jax")

CELLS = [
    ("flow", "density", "discrete"),
    ("eigensolver", "ground_state", "dense"),
    ("eigensolver", "spectrum", "dense"),
    ("eigensolver", "spectrum", "dominant"),
    ("eigensolver", "long_chain", "dominant"),
    ("qcbm", "gaussian", "reverse"),
    ("trg", "disordered", "reverse"),
]


def found(task: str, config: Any, method: str, inputs: Arrays, ask: Ask, precision: str = "float64") -> Any:
    backend = JaxBackend()
    backend.open(precision, "cpu", 1)
    cell = backend.prepare(task, config, method, dict(inputs), ask)
    return cell.fetch(cell.derivative())[1]


@cache
def direction(size: int) -> Array:
    v = np.random.default_rng(1).standard_normal(size)
    return np.asarray(v / np.linalg.norm(v))


def relative(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize(("task", "variant", "method"), CELLS)
def test_the_modes_agree_with_each_other_and_with_differences(task: str, variant: str, method: str) -> None:
    config = tasks.get(task).configure(variant, "tiny")
    inputs = tasks.get(task).draw(config, 0)
    theta = inputs["params"]
    v = direction(theta.size)
    backend = JaxBackend()
    backend.open("float64", "cpu", 1)
    cell = backend.prepare(task, config, method, dict(inputs))
    gradient = cell.fetch(cell.derivative())[1]

    def by(operator: str, engine: str) -> Any:
        return found(task, config, method, inputs, Ask(operator, engine, v))

    assert relative(by("gradient", "forward"), gradient) < 1e-12
    assert by("jvp", "forward") == pytest.approx(gradient @ v, abs=1e-13 * np.linalg.norm(gradient))
    hvp = by("hvp", "forward_over_reverse")
    assert relative(by("hvp", "reverse_over_reverse"), hvp) < 1e-11
    error, bound = finite_differences.check_along(cell.gradient_at, theta, hvp, v, float(np.linalg.norm(hvp)))
    assert error <= bound < 1e-6


@pytest.mark.parametrize("coupling", [0.3, exact.CRITICAL])
def test_the_specific_heat_of_the_4x4_torus(coupling: float) -> None:
    """K² ∂²(ln Z/N)/∂K², as an hvp, against the differences of Kaufman's solution."""
    torus = TrgConfig("classic", "4x4 torus", 16, 4, 1)
    inputs = tasks.get("trg").draw(torus, 0) | {"params": np.array([coupling])}
    heat = coupling**2 * found("trg", torus, "reverse", inputs, Ask("hvp", direction=np.ones(1)))[0]
    contract = {0.3: 0.440992653577, exact.CRITICAL: 0.783266825929}[coupling]
    assert heat == pytest.approx(contract, rel=1e-9)


@pytest.mark.parametrize("method", ["dense", "dominant"])
def test_second_derivatives_do_not_see_degenerate_levels_above(method: str) -> None:
    """J = h = 1 on four sites: of the levels above the lowest two, many coincide."""
    task = tasks.get("eigensolver")
    config = replace(task.configure("spectrum", "tiny"), levels=2)
    inputs = task.draw(config, 0) | {"params": np.ones(8)}
    backend = JaxBackend()
    backend.open("float64", "cpu", 1)
    cell = backend.prepare("eigensolver", config, method, dict(inputs))
    hvp = found("eigensolver", config, method, inputs, Ask("hvp", direction=direction(8)))
    scale = float(np.linalg.norm(hvp))
    error, bound = finite_differences.check_along(cell.gradient_at, inputs["params"], hvp, direction(8), scale)
    assert error <= bound < 1e-7


@pytest.mark.parametrize("spectrum", [(1.0, 0.9, 0.4, 0.3), (1.0, 1.0, 0.4, 0.4), (1.0, 0.6, 0.0, 0.0)])
def test_the_split_has_derivatives_of_every_order_and_no_poles(spectrum: tuple[float, ...]) -> None:
    """Of what does not change under A → AO, B → BO, along a line of matrices; equal values are on either side."""
    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    from suite.tasks.trg import on_jax, split_jax

    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((4, 4)))[0] for _ in range(2))
    start, line = (u * np.array(spectrum)) @ v.T, rng.standard_normal((4, 4)) / 4

    def loss(split: Any, t: Any) -> Any:
        a, b, _ = split((start + t * line)[None], 2)
        a, b = a[0], b[0]
        return jnp.sin(a @ b.T).sum() + jnp.trace(a.T @ a @ a.T @ a @ b.T @ b)

    def smooth(t: Any) -> Any:
        return loss(split_jax.split, t)

    first = jax.grad(smooth)
    second = jax.jacfwd(first)
    assert first(0.0) == pytest.approx(float(jax.grad(lambda t: loss(on_jax.split, t))(0.0)), rel=1e-12)
    assert jax.jacfwd(smooth)(0.0) == pytest.approx(float(first(0.0)), rel=1e-12)
    assert jax.grad(first)(0.0) == pytest.approx(float(second(0.0)), rel=1e-12)
    for function, derivative in ((first, second), (second, jax.jacfwd(second))):
        compiled = jax.jit(function)
        difference = finite_differences.directional(lambda t: compiled(t[0]), np.zeros(1), np.ones(1), step=0.05)
        assert float(derivative(0.0)) == pytest.approx(float(difference.value), rel=1e-8)


@pytest.mark.parametrize("engine", engines.ENGINES["jax"])
@pytest.mark.parametrize("operator", ["gradient", "jvp", "hvp"])
def test_what_is_declared_impossible_is_just_what_no_mode_does(operator: str, engine: str) -> None:
    from suite.backends import jax_engines

    def nothing(theta: Any, data: Any) -> Any:
        raise AssertionError("never called")

    functions = Functions(nothing, nothing, nothing, nothing, "jit", nothing)  # type: ignore[arg-type]
    if engines.limit("jax", engine, operator, "flow", "density"):
        with pytest.raises(Unsupported, match=f"{engine} mode cannot make a {operator}"):
            jax_engines.derivative(functions, Ask(operator, engine))
    else:
        assert callable(jax_engines.derivative(functions, Ask(operator, engine)))
