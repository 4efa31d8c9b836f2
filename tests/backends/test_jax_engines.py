"""JAX's modes on each task: one derivative by several ways, differences, exact figures; and the rules beneath them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

from diffprog import engines, tasks
from diffprog.backends.base import Ask
from diffprog.errors import Unsupported
from diffprog.measure import finite_differences
from diffprog.spec import Array, Case, Cell, Functions
from diffprog.tasks.trg import exact
from diffprog.tasks.trg.problem import TrgConfig

jax = pytest.importorskip("jax")
jax_engines = pytest.importorskip("diffprog.backends.jax_engines")

CELLS = [
    ("eigensolver", tasks.get("eigensolver").configure("spectrum", "tiny"), "dense"),
    ("eigensolver", replace(tasks.get("eigensolver").configure("long_chain", "tiny"), sites=4), "dominant"),
    ("qcbm", tasks.get("qcbm").configure("gaussian", "tiny"), "reverse"),
    ("trg", TrgConfig("disordered", "2x2", 3, 2, 2), "reverse"),
]
"""One of each rule; the smallest of ``trg`` that cuts something off."""


MODES = [
    ("gradient", "reverse"),
    ("gradient", "forward"),
    ("jvp", "forward"),
    ("hvp", "forward_over_reverse"),
    ("hvp", "reverse_over_reverse"),
]


@cache
def direction(size: int) -> Array:
    v = np.random.default_rng(1).standard_normal(size)
    return np.asarray(v / np.linalg.norm(v))


def relative(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.parametrize(("task", "config", "method"), CELLS)
def test_the_modes_agree_with_each_other_and_with_differences(task: str, config: Any, method: str) -> None:
    jax.config.update("jax_enable_x64", True)
    data = tasks.get(task).draw(config, 0)
    theta = data.pop("params")
    v = direction(theta.size)
    functions = tasks.functions(task, "jax", config, method)
    by = {ask: jax_engines.derivative(functions, Ask(*ask)) for ask in MODES}

    @jax.jit  # all at once is compiled in half the time
    def every(theta: Any, data: Any, v: Any) -> list[Any]:
        return [by[ask](theta, data, v)[1] if ask[0] != "gradient" else by[ask](theta, data)[1] for ask in MODES]

    gradient, forward, jvp, hvp, again = (np.asarray(x) for x in every(theta, data, v))
    assert relative(forward, gradient) < 1e-12
    assert float(jvp) == pytest.approx(float(gradient @ v), abs=1e-13 * float(np.linalg.norm(gradient)))
    assert relative(again, hvp) < 1e-11
    error, bound = finite_differences.check_along(
        lambda x: every(x, data, v)[0], theta, hvp, v, float(np.linalg.norm(hvp))
    )
    assert error <= bound < 1e-7


def test_the_specific_heat_of_the_4x4_torus() -> None:
    """K² ∂²(ln Z/N)/∂K² as an hvp, against the variance of the energy over all states."""
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
    jax.config.update("jax_enable_x64", True)
    config = replace(task.configure("spectrum", "tiny"), levels=2)
    data, theta, v = task.draw(config, 0), np.ones(8), direction(8)
    del data["params"]
    functions = tasks.functions("eigensolver", "jax", config, method)
    gradient = jax.jit(functions.gradient)
    hvp = np.asarray(jax.jit(jax_engines.derivative(functions, Ask("hvp", "forward_over_reverse")))(theta, data, v)[1])
    scale = float(np.linalg.norm(hvp))
    error, bound = finite_differences.check_along(lambda x: gradient(x, data)[1], theta, hvp, v, scale)
    assert error <= bound < 1e-7


def test_the_split_has_derivatives_of_every_order_and_no_poles() -> None:
    """Of what does not change under A → AO, B → BO, along a line of matrices; equal values are on either side."""
    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    from diffprog.tasks.trg import on_jax, split_jax

    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((4, 4)))[0] for _ in range(2))
    line = rng.standard_normal((4, 4)) / 4

    def loss(t: Any, start: Any, split: Any = split_jax.split) -> Any:
        a, b, _ = split((start + t * line)[None], 2)
        a, b = a[0], b[0]
        return jnp.sin(a @ b.T).sum() + jnp.trace(a.T @ a @ a.T @ a @ b.T @ b)

    first = jax.grad(loss)
    second = jax.jacfwd(first)
    orders = first, second, jax.jacfwd(second), jax.grad(partial(loss, split=on_jax.split)), jax.grad(first)
    every = jax.jit(lambda t, start: jnp.stack([derivative(t, start) for derivative in orders]))

    def differences(start: Array) -> Array:
        slopes = finite_differences.directional(lambda t: every(t[0], start), np.zeros(1), np.ones(1), step=0.05)
        return np.asarray(slopes.value)

    for spectrum in ((1.0, 1.0, 0.4, 0.4), (1.0, 0.6, 0.0, 0.0)):
        start = (u * np.array(spectrum)) @ v.T
        found = np.asarray(every(0.0, start))
        assert found[3:] == pytest.approx(found[:2], rel=1e-12)
        assert found[1:3] == pytest.approx(differences(start)[:2], rel=1e-8)


@pytest.mark.parametrize("engine", [name for name in engines.ENGINES["jax"] if name != "enzyme"])
@pytest.mark.parametrize("operator", ["gradient", "jvp", "hvp"])
def test_what_is_declared_impossible_is_just_what_no_mode_does(operator: str, engine: str) -> None:
    def nothing(theta: Any, data: Any) -> Any:
        raise AssertionError("never called")

    functions = Functions(nothing, nothing, nothing, nothing, "jit", nothing)
    if engines.limit(Cell(Case("flow", "density", "tiny", 0), "jax", "discrete", operator, "float64", "cpu", engine)):
        with pytest.raises(Unsupported, match=f"{engine} mode cannot make a {operator}"):
            jax_engines.derivative(functions, Ask(operator, engine))
    else:
        assert callable(jax_engines.derivative(functions, Ask(operator, engine)))
