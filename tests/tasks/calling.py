"""A task's functions on any Python backend, called with host arrays and answering with host arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from diffprog import tasks
from diffprog.spec import Array, Arrays, Functions


def relative(a: Array, b: Array) -> float:
    """‖a − b‖/‖b‖."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@functools.cache
def called(task: str, backend: str, config: Any, method: str, precision: str = "float64") -> Callable[..., Any]:
    """``call(name, theta, data)``; skips where the backend is not installed. JAX compiles each function once."""
    if backend != "numpy":
        pytest.importorskip(backend)
    functions: Functions = tasks.functions(task, backend, config, method)
    compiled: dict[str, Any] = {}

    def host(answer: Any) -> Any:
        if isinstance(answer, tuple):
            return tuple(np.asarray(part) for part in answer)
        return {name: np.asarray(x) for name, x in answer.items()} if isinstance(answer, dict) else np.asarray(answer)

    def call(name: str, theta: Array, data: Arrays) -> Any:
        function, given = getattr(functions, name), {"theta": theta} | data
        given = {key: x.astype(precision) if x.dtype.kind == "f" else x for key, x in given.items()}
        if backend == "torch":
            import torch

            given = {key: torch.as_tensor(x) for key, x in given.items()}
        if backend != "jax":
            return host(function(given.pop("theta"), given))
        import jax

        with jax.enable_x64(precision == "float64"):
            jitted = function if name == "work" else compiled.setdefault(name, jax.jit(function))
            return host(jitted(given.pop("theta"), given))

    return call
