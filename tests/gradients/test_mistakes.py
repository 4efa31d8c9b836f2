"""A function with a mistake in it costs its own row, and is told with its file and line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffprog import GradientMismatch, check_gradients
from diffprog.gradients.sides import Budget, OutOfTime
from tests.gradients.conftest import by_hand, loss

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")
torch = pytest.importorskip("torch")
HERE = str(Path(__file__))


def takes_three(params: Any, data: Any, more: Any) -> Any:
    return more


def raises(params: Any, data: Any) -> Any:
    raise RuntimeError("no such thing")


def cut_off(params: Any, data: Any) -> Any:
    return float(loss(torch)(params, data).detach())


def detached(params: Any, data: Any) -> Any:
    return loss(torch)({name: x.detach() for name, x in params.items()}, data)


def vector(params: Any, data: Any) -> Any:
    return params["b"]


def complex_(params: Any, data: Any) -> Any:
    return params["c"] * (1 + 1j)


def whole(params: Any, data: Any) -> Any:
    return data["kinds"].sum()


def infinite(params: Any, data: Any) -> Any:
    return params["c"] / 0.0


def writes(params: Any, data: Any) -> Any:
    data["X"] *= 2
    return loss(torch)(params, data)


def single(params: Any, data: Any) -> Any:
    return loss(torch)(params, data).float()


def by_numpy(params: Any, data: Any) -> Any:
    return loss(np)(params, data)


def item(params: Any, data: Any) -> Any:
    return loss(jnp)(params, data) * params["c"].item()


def assigns(params: Any, data: Any) -> Any:
    data["X"][0] = 1.0
    return loss(jnp)(params, data)


@pytest.mark.parametrize(
    ("backend", "function", "told"),
    [
        ("torch", takes_three, "loss must take two arguments, params and data"),
        ("jax", takes_three, "loss must take two arguments, params and data"),
        ("torch", raises, "RuntimeError: no such thing"),
        ("jax", raises, "RuntimeError: no such thing"),
        ("torch", cut_off, "cuts it off from its parameters"),
        ("torch", detached, "loss does not depend on its parameters as autograd sees it"),
        ("torch", vector, "loss returns an array of shape (2,)"),
        ("jax", vector, "loss returns an array of shape (2,)"),
        ("torch", complex_, "loss returns a complex number"),
        ("jax", complex_, "loss returns a complex number"),
        ("torch", whole, "loss returns int64, which cannot be differentiated"),
        ("torch", infinite, "it must be finite"),
        ("jax", infinite, "inf"),
        ("torch", writes, "loss changes its input 'X' in place"),
        ("torch", single, "loss returns float32 where parameters and data are float64"),
        ("torch", by_numpy, "NumPy cannot be used on parameters"),
        ("jax", by_numpy, "NumPy cannot be used on parameters or data: use jax.numpy"),
        ("jax", assigns, "JAX's arrays cannot be changed"),
    ],
    ids=lambda one: one if isinstance(one, str) and len(one) < 6 else getattr(one, "__name__", ""),
)
def test_a_mistake_costs_its_own_row(backend: str, function: Any, told: str, given: dict[str, Any]) -> None:
    result = check_gradients({backend: function}, numpy=loss(np), numpy_gradient=by_hand, **given)
    other, mine = result.rows
    assert (other.outcome, mine.outcome) == ("ok", "error" if told != "inf" else mine.outcome)
    assert mine.outcome in ("error", "disagrees")
    assert told in mine.reason
    if mine.outcome == "error":
        assert HERE in mine.reason
    assert told.split("(")[0] in str(result)
    with pytest.raises(GradientMismatch):
        result.raise_for_status()


def test_the_line_is_that_of_the_mistake_and_the_exception_is_kept(given: dict[str, Any]) -> None:
    result = check_gradients(torch=raises, **given)
    line = raises.__code__.co_firstlineno + 1
    assert result.rows[0].reason.startswith(f"{HERE}:{line}: RuntimeError")
    with pytest.raises(GradientMismatch) as caught:
        result.raise_for_status()
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_what_is_cut_off_where_nothing_is_compiled_is_told(given: dict[str, Any]) -> None:
    result = check_gradients(jax=item, torch=lambda p, d: loss(torch)(p, d) * p["c"], **given)
    assert {row.backend: row.outcome for row in result.rows} == {"torch": "ok", "jax": "disagrees"}
    assert "note: jax: it cannot be compiled, and was called as it is" in str(result)
    assert "a traced value has no number: no float(), .item()" in str(result)


def test_a_gradient_by_hand_of_another_shape_is_told(given: dict[str, Any]) -> None:
    def short(params: Any, data: Any) -> Any:
        value, slopes = by_hand(params, data)
        return value, slopes | {"b": slopes["b"][:1]}

    def lacking(params: Any, data: Any) -> Any:
        value, slopes = by_hand(params, data)
        return value, {name: x for name, x in slopes.items() if name != "c"}

    for wrong, told in ((short, "the gradient of 'b' has shape (1,)"), (lacking, "no gradient for the parameter 'c'")):
        result = check_gradients(numpy=loss(np), numpy_gradient=wrong, jax=loss(jnp), **given)
        assert [row.outcome for row in result.rows] == ["error", "ok"]
        assert told in result.rows[0].reason


def test_a_notebook_s_cell_is_called_a_cell(given: dict[str, Any]) -> None:
    text = "def loss(params, data):\n    return params['nothing']\n"
    names: dict[str, Any] = {}
    exec(compile(text, "/tmp/ipykernel_4242/31337.py", "exec"), names)
    result = check_gradients(torch=names["loss"], **given)
    assert result.rows[0].reason.startswith("line 2 of a cell: KeyError: 'nothing'")


def test_a_kink_is_no_evidence(given: dict[str, Any]) -> None:
    here = given["params"]["c"]
    result = check_gradients(torch=lambda p, d: torch.relu(p["c"] - here) + p["b"].sum(), **given)
    assert result.rows[0].outcome == "disagrees"
    assert "c (" in result.rows[0].reason
    stepped = check_gradients(jax=lambda p, d: jnp.floor(1e9 * p["c"]) + p["b"].sum(), **given)
    assert "finite differences" in stepped.rows[0].reason


def test_a_function_is_asked_no_more_when_its_time_is_over(given: dict[str, Any]) -> None:
    calls = []

    def slow(params: Any, data: Any) -> Any:
        calls.append(1)
        time.sleep(0.05)
        return loss(torch)(params, data)

    start = time.monotonic()
    result = check_gradients(torch=slow, numpy=loss(np), numpy_gradient=by_hand, time_limit=0.3, **given)
    assert {row.backend: row.outcome for row in result.rows} == {"numpy": "ok", "torch": "timed_out"}
    assert "no answer within 0.3 s" in result.rows[1].reason
    assert time.monotonic() - start < 30
    assert len(calls) < 20


def test_ctrl_c_is_nobody_s_outcome(given: dict[str, Any]) -> None:
    def stopped(params: Any, data: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_gradients(torch=stopped, **given)


def test_the_time_of_one_backend_is_not_another_s() -> None:
    budget = Budget(0.5)
    time.sleep(0.6)  # of the others
    with budget.spending():
        time.sleep(0.1)
    time.sleep(0.6)
    with budget.spending():
        assert 0 < budget.left < 0.4
        time.sleep(0.5)
    with pytest.raises(OutOfTime, match=r"no answer within 0\.5 s"), budget.spending():
        raise AssertionError("nothing is asked")
