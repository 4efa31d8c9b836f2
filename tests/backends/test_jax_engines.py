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
    ("eigensolver", tasks.get("eigensolver").configure("spectrum", "tiny"), "dense"),
    ("eigensolver", replace(tasks.get("eigensolver").configure("long_chain", "tiny"), sites=4), "dominant"),
    ("qcbm", tasks.get("qcbm").configure("gaussian", "tiny"), "reverse"),
    ("trg", TrgConfig("disordered", "2x2", 3, 2, 2), "reverse"),
]
"""One of each rule; the smallest of ``trg`` that cuts something off."""


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


@pytest.mark.parametrize(("task", "config", "method"), CELLS)
def test_the_modes_agree_with_each_other_and_with_differences(task: str, config: Any, method: str) -> None:
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
    assert by("jvp", "forward") == pytest.approx(gradient @ v, abs=1e-13 * float(np.linalg.norm(gradient)))
    hvp = by("hvp", "forward_over_reverse")
    assert relative(by("hvp", "reverse_over_reverse"), hvp) < 1e-11
    error, bound = finite_differences.check_along(cell.gradient_at, theta, hvp, v, float(np.linalg.norm(hvp)))
    assert error <= bound < 1e-6


def test_the_specific_heat_of_the_4x4_torus() -> None:
    """K² ∂²(ln Z/N)/∂K² as an hvp, against the variance of the energy over all states."""
    from suite.backends import jax_engines

    jax.config.update("jax_enable_x64", True)
    torus = TrgConfig("classic", "4x4 torus", 16, 4, 1)
    data = tasks.get("trg").draw(torus, 0)
    del data["params"]
    functions = tasks.functions("trg", "jax", torus, "reverse")
    hvp = jax.jit(jax_engines.derivative(functions, Ask("hvp", "forward_over_reverse")))
    for coupling, heat in ((0.3, 0.440992653577), (exact.CRITICAL, 0.783266825929)):
        _, second = hvp(np.array([coupling]), data, np.ones(1))
        assert coupling**2 * float(second[0]) == pytest.approx(heat, rel=1e-11)


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


@pytest.mark.parametrize("spectrum", [(1.0, 1.0, 0.4, 0.4), (1.0, 0.6, 0.0, 0.0)])
def test_the_split_has_derivatives_of_every_order_and_no_poles(spectrum: tuple[float, ...]) -> None:
    """Of what does not change under A → AO, B → BO, along a line of matrices; equal values are on either side."""
    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    from suite.tasks.trg import on_jax, split_jax

    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((4, 4)))[0] for _ in range(2))
    start, line = (u * np.array(spectrum)) @ v.T, rng.standard_normal((4, 4)) / 4

    def loss(t: Any, split: Any = split_jax.split) -> Any:
        a, b, _ = split((start + t * line)[None], 2)
        a, b = a[0], b[0]
        return jnp.sin(a @ b.T).sum() + jnp.trace(a.T @ a @ a.T @ a @ b.T @ b)

    first = jax.grad(loss)
    second = jax.jacfwd(first)
    by_rule = jax.grad(lambda t: loss(t, on_jax.split))
    every = jax.jit(lambda t: jnp.stack([f(t) for f in (first, second, jax.jacfwd(second))]))
    others = jax.jit(lambda t: jnp.stack([f(t) for f in (by_rule, jax.jacfwd(loss), jax.grad(first))]))
    found = np.asarray(every(0.0))
    assert others(0.0) == pytest.approx(found[[0, 0, 1]], rel=1e-12)
    slopes = finite_differences.directional(lambda t: every(t[0]), np.zeros(1), np.ones(1), step=0.05).value
    assert found[1:] == pytest.approx(slopes[:-1], rel=1e-8)


@pytest.mark.parametrize("engine", engines.ENGINES["jax"])
@pytest.mark.parametrize("operator", ["gradient", "jvp", "hvp"])
def test_what_is_declared_impossible_is_just_what_no_mode_does(operator: str, engine: str) -> None:
    from suite.backends import jax_engines

    def nothing(theta: Any, data: Any) -> Any:
        raise AssertionError("never called")

    functions = Functions(nothing, nothing, nothing, nothing, "jit", nothing)
    if engines.limit("jax", engine, operator, "flow", "density"):
        with pytest.raises(Unsupported, match=f"{engine} mode cannot make a {operator}"):
            jax_engines.derivative(functions, Ask(operator, engine))
    else:
        assert callable(jax_engines.derivative(functions, Ask(operator, engine)))
