"""What runs on a GPU without the host in between, and in its own precision: JAX, from the jaxprs of every method.

They are traced for float32 inputs while float64 is switched on: a constant of NumPy that is float64 then shows. And
they are lowered for CUDA, which needs no such device.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from diffprog import tasks
from diffprog.errors import Unavailable
from diffprog.spec import Functions

jax = pytest.importorskip("jax")
from jax import export  # noqa: E402

CELLS = [(t, v, m) for t in tasks.NAMES for v in tasks.get(t).variants for m in tasks.get(t).methods]
EXCEPTIONS = {
    (
        "flow",
        "library",
    ): "diffrax: its error_if calls the host where a solve fails, and its time is float64 if it may be"
}
WIDE = ("float64", "complex128")


def traced(function: Callable[..., Any], *arguments: Any) -> Counter[str]:
    """Callbacks and float64 arrays of a function's jaxpr. Python's numbers, weakly typed, become constants: no harm."""
    with jax.enable_x64(True):
        return Counter(_found(jax.make_jaxpr(function)(*arguments).jaxpr))


def _found(jaxpr: Any) -> Iterator[str]:
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if "callback" in name or "debug" in name or name in ("infeed", "outfeed"):
            yield f"callback: {name}"
        for variable in equation.outvars:
            if str(getattr(variable.aval, "dtype", "")) in WIDE and not variable.aval.weak_type:
                yield f"float64: {name}"
        for parameter in equation.params.values():
            for inner in parameter if isinstance(parameter, tuple | list) else (parameter,):
                if hasattr(inner := getattr(inner, "jaxpr", inner), "eqns"):
                    yield from _found(inner)


def drawn(task: str, variant: str, method: str, dtype: str) -> tuple[Functions, Any, dict[str, Any]]:
    declared = tasks.get(task)
    config = declared.configure(variant, "tiny")
    host = declared.draw(config, 0)
    data = {name: x.astype(dtype) if x.dtype.kind == "f" else x for name, x in host.items()}
    if task == "flow":
        config = dataclasses.replace(config, steps=2)
    try:
        return tasks.functions(task, "jax", config, method), data.pop("params"), data
    except Unavailable as error:
        pytest.skip(str(error))


TRACED = [(t, v, m) for t, v, m in CELLS if (t, m) not in EXCEPTIONS or v == tasks.get(t).variants[0]]


@pytest.mark.parametrize(("task", "variant", "method"), TRACED)
def test_no_callbacks_and_no_float64(task: str, variant: str, method: str) -> None:
    functions, theta, data = drawn(task, variant, method, "float32")
    found = traced(functions.gradient, theta, data)  # the value is in it
    if (task, method) in EXCEPTIONS:
        assert any(name.startswith("callback") for name in found)
    else:
        assert found == Counter()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lambda x: jax.pure_callback(np.sin, x, x), "callback: pure_callback"),
        (lambda x: jax.lax.scan(lambda c, _: (c * 1.0, jax.debug.print("{}", c)), x, None, 3)[0], "callback: debug_"),
        (lambda x: x * np.ones(2), "float64: mul"),
    ],
)
def test_the_trace_shows_it(fault: Any, told: str) -> None:
    found = traced(jax.jit(fault), np.ones(2, "float32"))
    assert any(name.startswith(told) for name in found), found


SOLVERS: dict[str, set[str]] = {"trg": {"cusolver_gesvd_ffi"}, "eigensolver": {"cusolver_syevd_ffi"}}
"""What is called of cuSOLVER. gesvd is QR iteration, by our choice; syevd may be Jacobi within, by JAX's."""


@pytest.mark.parametrize(("task", "method"), sorted({(t, m) for t, _, m in CELLS} - EXCEPTIONS.keys()))
def test_it_lowers_for_cuda_with_the_drivers_that_are_declared(task: str, method: str) -> None:
    functions, theta, data = drawn(task, tasks.get(task).variants[0], method, "float64")
    with jax.enable_x64(True):
        lowered = export.export(jax.jit(functions.gradient), platforms=["cuda"])(theta, data)
    called = set(re.findall(r"custom_call @(\w+)", lowered.mlir_module())) - {
        "mhlo"
    }  # operations of XLA's own, in older JAX
    assert called == SOLVERS.get(task, set())
    assert bool(functions.switches) == (task in SOLVERS)
