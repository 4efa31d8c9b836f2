"""Enzyme under JAX: its derivatives where enzyme-ad is installed, and what is said where it is not."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from diffprog import engines, tasks
from diffprog.backends.base import Ask, Unavailable, Unsupported
from diffprog.engines import ENGINES
from diffprog.spec import Case, Functions

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")
jax_engines = pytest.importorskip("diffprog.backends.jax_engines")

there = pytest.mark.skipif(importlib.util.find_spec("enzyme_ad") is None, reason="enzyme-ad is not installed")


def loss(theta: Any, data: dict[str, Any]) -> Any:
    """A layer, chosen elements of a table, and a loop."""
    z = jnp.tanh(data["X"] @ theta[:3]) * jnp.where(data["kept"], 1.0, 0.5)
    table = jnp.outer(theta[3:], jnp.arange(1.0, 4.0))
    end, _ = jax.lax.scan(lambda c, _: (jnp.sin(c) * theta[0] + theta[4], None), theta[1], None, length=4)
    return (z**2).sum() + (table[data["rows"], data["columns"]] ** 3).sum() + end


def inputs() -> tuple[Any, dict[str, Any], Any]:
    rng = np.random.default_rng(0)
    data = {"X": rng.standard_normal((6, 3)), "kept": rng.random(6) > 0.5, "rows": np.array([0, 1, 1]),
            "columns": np.array([2, 0, 1]), "unused": np.ones(2)}  # fmt: skip
    placed = {name: jnp.asarray(x) for name, x in data.items()}
    return jnp.asarray(rng.standard_normal(5)), placed, jnp.asarray(rng.standard_normal(5))


def functions(loss: Callable[..., Any] | None) -> Functions:
    def none(theta: Any, data: Any) -> Any:
        raise AssertionError("not called")

    return Functions(none, none, none, none, "jit", loss)


USUAL = {"gradient": "reverse", "jvp": "forward", "hvp": "forward_over_reverse"}


def both(operator: str) -> tuple[list[Any], list[Any]]:
    """By Enzyme, and by JAX."""
    theta, data, v = inputs()
    given = (theta, data) if operator == "gradient" else (theta, data, v)
    of = functions(loss)
    usual = (
        jax.value_and_grad(loss)
        if operator == "gradient"
        else jax_engines.derivative(of, Ask(operator, USUAL[operator]))
    )
    by = [jax.jit(jax_engines.derivative(of, Ask(operator, "enzyme"))), jax.jit(usual)]
    first, second = (jax.tree.leaves(function(*given)) for function in by)
    return first, second


@there
@pytest.mark.parametrize("operator", USUAL)
def test_enzyme_gives_the_derivatives_that_jax_gives(operator: str) -> None:
    jax.config.update("jax_enable_x64", True)
    ours, theirs = both(operator)
    for one, other in zip(ours, theirs, strict=True):
        assert np.asarray(one) == pytest.approx(np.asarray(other), rel=1e-13, abs=1e-13)


@there
def test_a_rule_of_jax_s_own_is_not_seen() -> None:
    jax.config.update("jax_enable_x64", True)

    @jax.custom_jvp
    def square(x: Any) -> Any:
        return x**2

    square.defjvp(lambda primals, tangents: (primals[0] ** 2, 100 * tangents[0]))
    of = functions(lambda theta, data: square(theta).sum())
    found = jax.jit(jax_engines.derivative(of, Ask("gradient", "enzyme")))(jnp.ones(2), {})
    assert np.asarray(found[1]) == pytest.approx([2.0, 2.0], rel=1e-14)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """An enzyme-ad that leaves functions to JAX; what it was given."""
    seen: list[Any] = []

    def enzyme_jax_ir() -> Callable[[Any], Any]:
        def decorate(function: Any) -> Any:
            seen.append(function)
            return function

        return decorate

    package, module = ModuleType("enzyme_ad"), ModuleType("enzyme_ad.jax")
    module.enzyme_jax_ir = enzyme_jax_ir  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "enzyme_ad", package)
    monkeypatch.setitem(sys.modules, "enzyme_ad.jax", module)
    return seen


@pytest.mark.parametrize(("operator", "decorated"), [("gradient", 1), ("jvp", 1), ("hvp", 2)])
def test_every_operator_is_made_of_decorated_functions(operator: str, decorated: int, stand_in: list[Any]) -> None:
    jax.config.update("jax_enable_x64", True)
    ours, theirs = both(operator)
    assert len(stand_in) == decorated
    assert stand_in[0] is loss
    for one, other in zip(ours, theirs, strict=True):
        assert np.asarray(one) == pytest.approx(np.asarray(other), rel=1e-13)


@pytest.mark.parametrize("broken", [None, ModuleType("enzyme_ad.jax")], ids=["absent", "of another version"])
def test_without_enzyme_ad_the_engine_is_unavailable(broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "enzyme_ad.jax", broken)
    with pytest.raises(Unavailable, match=f"cannot be imported with JAX {jax.__version__}") as caught:
        jax_engines.derivative(functions(loss), Ask("gradient", "enzyme"))
    assert caught.value.mend == 'python -m pip install "enzyme-ad>=0.0.16"'


def test_a_rule_for_gradients_alone_has_nothing_for_enzyme() -> None:
    with pytest.raises(Unsupported, match="nothing to differentiate"):
        jax_engines.derivative(functions(None), Ask("gradient", "enzyme"))


@pytest.mark.parametrize(("task", "variant"), [("qcbm", "gaussian"), ("trg", "classic"), ("eigensolver", "spectrum")])
@pytest.mark.parametrize("operator", USUAL)
def test_the_tasks_that_it_cannot_do_say_why(task: str, variant: str, operator: str) -> None:
    case = Case(task, variant, "tiny", 0)
    cell = tasks.cell(case, "jax", tasks.get(task).reference_method(variant), operator, by="enzyme")
    assert "Enzyme" in tasks.limit(cell)
    assert engines.limit(cell) == ""  # another task's may work
    assert "enzyme" in ENGINES["jax"]


@there
def test_what_is_declared_to_abort_does() -> None:
    code = (
        "import jax, jax.numpy as jnp; from enzyme_ad.jax import enzyme_jax_ir\n"
        "def loss(x):\n"
        "    return jax.lax.scan(lambda c, _: (jnp.sin(c) * x, None), x, None, length=8)[0].sum()\n"
        "print(jax.jit(jax.grad(enzyme_jax_ir()(loss)))(jnp.ones(2)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode < 0, done.stdout
    assert "start indices must have same element type" in done.stderr
