"""Julia through juliacall: the package DiffProgTasks in ``julia/`` does the work, on memory that NumPy owns.

Which Julia, and with which environment, was settled by the parent (``suite.backends.find_julia``) and stands in the
worker's environment. All calls are made from the main thread: Julia called from another Python thread deadlocks.
"""

from __future__ import annotations

import dataclasses
import os
from functools import partial
from typing import Any

import numpy as np

from suite.backends.base import Prepared, Unavailable, Unsupported, by_hand, in_precision
from suite.spec import Array, Arrays


class JuliaBackend:
    name = "julia"

    def open(self, precision: str, device: str, threads: int) -> None:
        if device != "cpu":
            raise Unsupported(f"the Julia tasks have no {device} path yet: they compute on the CPU")
        try:
            from juliacall import Main
        except ImportError as error:
            raise Unavailable(f"juliacall cannot be imported ({error})", "python -m pip install juliacall") from error
        self.precision = precision
        self.julia = Main
        Main.seval("using DiffProgTasks, LinearAlgebra")
        Main.LinearAlgebra.BLAS.set_num_threads(threads)
        self.tasks = Main.DiffProgTasks

    def _wrap(self, array: Array) -> Any:
        """A Julia Array on the array's own memory; a C-order (B, d) array becomes d×B. The caller keeps it alive."""
        return self.tasks.wrap(array.dtype.name, array.ctypes.data, *reversed(array.shape))

    def prepare(self, task: str, config: Any, method: str, inputs: Arrays) -> Prepared:
        from juliacall import JuliaError

        tasks = self.tasks
        host = {name: np.ascontiguousarray(x) for name, x in in_precision(inputs, self.precision).items()}
        wrapped = {name: self._wrap(array) for name, array in host.items()}
        theta = wrapped.pop("params")
        try:
            options = tasks.options(**dataclasses.asdict(config))
            problem = tasks.build(task, method, options, tasks.options(**wrapped))
        except JuliaError as error:
            if self.julia.isa(error.exception, self.julia.ArgumentError):
                raise Unsupported(str(error.exception.msg)) from error
            raise
        value, gradient = tasks.value, tasks.gradient

        def outputs() -> Arrays:
            # Column-major d×B back to (B, d): the transpose is C-contiguous again.
            return {str(k): np.array(np.asarray(x).T) for k, x in tasks.named(tasks.outputs(problem, theta)).items()}

        def value_at(x: Array) -> float:
            x = np.ascontiguousarray(x.astype(self.precision))
            return float(value(problem, self._wrap(x)))

        def fetch(result: Any) -> tuple[float, Any]:
            loss, theta_bar = result
            return float(loss), np.array(theta_bar)

        def synchronise(result: Any, _host: Any = host) -> None:
            """Julia returns finished results. The default argument keeps the wrapped memory alive."""

        return Prepared(
            value=partial(value, problem, theta),
            gradient=partial(gradient, problem, theta),
            synchronise=synchronise,
            fetch_value=float,
            fetch=fetch,
            value_at=value_at,
            outputs=outputs,
            work=lambda: {str(k): int(v) for k, v in tasks.named(tasks.work(problem, theta)).items()},
            value_by_hand=by_hand(value, problem, theta),
            gradient_by_hand=by_hand(gradient, problem, theta),
            engine=str(tasks.engine(problem)),
        )

    def versions(self) -> dict[str, str]:
        import juliacall

        found = {"juliacall": juliacall.__version__, "julia": str(self.julia.VERSION)}
        return found | {str(k): str(v) for k, v in self.tasks.named(self.tasks.versions()).items()}

    def switches(self) -> dict[str, str]:
        return {
            "blas_threads": str(self.julia.LinearAlgebra.BLAS.get_num_threads()),
            "julia_threads": str(self.julia.Threads.nthreads()),
            "project": os.environ.get("PYTHON_JULIACALL_PROJECT", ""),
            "executable": os.environ.get("PYTHON_JULIACALL_EXE", ""),
        }

    def device_peak(self) -> int | None:
        return None


BACKEND = JuliaBackend
