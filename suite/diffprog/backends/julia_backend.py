"""Julia through juliacall: the package DiffProgTasks in ``julia/`` does the work, on memory that NumPy owns.

Which Julia, and with which environment, was settled by the parent (``diffprog.backends.find_julia``) and stands in the
worker's environment. All calls are made from the main thread: Julia called from another Python thread deadlocks.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from diffprog import tasks as known
from diffprog.backends.base import GRADIENT, Ask, Prepared, Trainer, by_hand, in_place, in_precision
from diffprog.errors import Unavailable, Unsupported
from diffprog.measure import rates
from diffprog.spec import Array, Arrays, dtype


class JuliaAdam:
    """``Optimisers.Adam``, its state held by Julia."""

    def __init__(self, tasks: Any, problems: list[Any], source: Any, descent: Any) -> None:
        self._tasks, self._problems, self._source, self._descent = tasks, problems, source, descent

    def step(self, batch: int) -> float:
        return float(self._tasks.step_b(self._descent, self._problems[batch], self._source))

    def theta(self) -> Array:
        return np.array(self._descent.parameters)


class JuliaBackend:
    name = "julia"

    def open(self, precision: str, device: str, threads: int) -> None:
        if device != "cpu":
            raise Unsupported(f"the Julia tasks have no {device} path yet: they compute on the CPU")
        try:
            from juliacall import Main
        except ImportError as error:
            raise Unavailable(f"juliacall cannot be imported ({error})", "python -m pip install juliacall") from error
        self.precision = dtype(precision)
        self.julia = Main
        Main.seval("using DiffProgTasks, LinearAlgebra")
        Main.LinearAlgebra.BLAS.set_num_threads(threads)
        self.tasks = Main.DiffProgTasks

    def _wrap(self, array: Array) -> Any:
        """A Julia Array on the array's own memory; a C-order (B, d) array becomes d×B. The caller keeps it alive."""
        return self.tasks.wrap(array.dtype.name, array.ctypes.data, *reversed(array.shape))

    def _problem(self, task: str, config: Any, method: str, data: dict[str, Any]) -> Any:
        """What ``DiffProgTasks.build`` makes of wrapped arrays."""
        from juliacall import JuliaError

        options = self.tasks.options
        try:
            return self.tasks.build(task, method, options(**dataclasses.asdict(config)), options(**data))
        except JuliaError as error:
            if self.julia.isa(error.exception, self.julia.ArgumentError):
                raise Unsupported(str(error.exception.msg)) from error
            raise

    def _derivation(self, task: str, problem: Any, ask: Ask) -> Any:
        """What ``DiffProgTasks.derivation`` makes of an operator and an engine."""
        from juliacall import JuliaError

        operator, engine = ask.operator, ask.engine
        if operator == "value":  # which knows no engine
            operator, engine = "gradient", known.engine(self.name, task, "gradient")
        try:
            return self.tasks.derivation(problem, operator, engine)
        except JuliaError as error:
            if self.julia.isa(error.exception, self.tasks.PackageMissing):
                missing = error.exception
                raise Unavailable(
                    f"{ask.engine} needs the Julia package {missing.name}", str(missing.command)
                ) from error
            if self.julia.isa(error.exception, self.julia.ArgumentError):
                raise Unsupported(str(error.exception.msg)) from error
            raise

    def _outputs(self, problem: Any, theta: Any) -> Arrays:
        """Column-major d×B back to (B, d): the transpose is C-contiguous again."""
        named = self.tasks.named(self.tasks.outputs(problem, theta))
        return {str(name): np.array(np.asarray(x).T) for name, x in named.items()}

    def prepare(self, task: str, config: Any, method: str, inputs: Arrays, ask: Ask = GRADIENT) -> Prepared:
        tasks = self.tasks
        host = {name: np.ascontiguousarray(x) for name, x in in_precision(inputs, self.precision).items()}
        wrapped = {name: self._wrap(array) for name, array in host.items()}
        theta = wrapped.pop("params")
        problem = self._problem(task, config, method, wrapped)
        value = tasks.value
        arguments: tuple[Any, ...] = (theta,)
        derivation = self._derivation(task, problem, ask.named(self.name, task))
        direction = ask.direction.astype(self.precision)
        if ask.operator in ("jvp", "hvp"):
            arguments += (self._wrap(direction),)

        def value_at(x: Array) -> float:
            x = np.ascontiguousarray(x.astype(self.precision))
            return float(value(problem, self._wrap(x)))

        def gradient_at(x: Array) -> Array:
            x = np.ascontiguousarray(x.astype(self.precision))
            return np.array(tasks.gradient(problem, self._wrap(x))[1])

        def fetch(result: Any) -> tuple[float, Any]:
            loss, found = result
            return float(loss), np.array(found, dtype=self.precision)

        def synchronise(result: Any, _memory: Any = (host, direction)) -> None:
            """Julia returns finished results. The default argument keeps the wrapped memory alive."""

        return Prepared(
            value=partial(value, problem, theta),
            derivative=partial(tasks.derive, derivation, *arguments),
            synchronise=synchronise,
            fetch_value=float,
            fetch=fetch,
            value_at=value_at,
            gradient_at=gradient_at,
            outputs=partial(self._outputs, problem, theta),
            work=lambda: {str(k): int(v) for k, v in tasks.named(tasks.work(problem, theta)).items()},
            value_by_hand=by_hand(value, problem, theta),
            derivative_by_hand=by_hand(tasks.derive, derivation, *arguments),
            made_with=str(tasks.made_with(problem)),
            elsewhere=in_place(host["params"]),
        )

    def trainer(self, task: str, config: Any, method: str, batches: Sequence[Arrays], source: Array) -> Trainer:
        tasks = self.tasks

        def hold(array: Array) -> Array:
            return np.ascontiguousarray(array.astype(self.precision) if array.dtype.kind == "f" else array)

        held = [{name: hold(array) for name, array in data.items()} for data in batches]
        problems = [
            self._problem(task, config, method, {name: self._wrap(array) for name, array in data.items()})
            for data in held
        ]
        tilt = hold(source)
        wrapped_tilt = self._wrap(tilt)

        def gradient_at(x: Array, batch: int, _memory: Any = (held, tilt)) -> tuple[float, Array]:
            """The default argument keeps the wrapped memory alive."""
            theta = hold(x)
            value, theta_bar = tasks.gradient(problems[batch], self._wrap(theta))
            return float(value) - float(tilt @ theta), np.array(theta_bar) - tilt

        def outputs_at(x: Array) -> Arrays:
            theta = hold(x)
            return self._outputs(problems[0], self._wrap(theta))

        def adam(x: Array, rate: float) -> JuliaAdam:
            theta = hold(x)
            return JuliaAdam(tasks, problems, wrapped_tilt, tasks.adam(self._wrap(theta), rate))

        return Trainer(len(problems), gradient_at, outputs_at, adam, str(tasks.made_with(problems[0])))

    def versions(self) -> dict[str, str]:
        import juliacall

        found = {"juliacall": juliacall.__version__, "julia": str(self.julia.VERSION)}
        return found | {str(k): str(v) for k, v in self.tasks.named(self.tasks.versions()).items()}

    def switches(self) -> dict[str, str]:
        return {
            "blas_threads": str(self.julia.LinearAlgebra.BLAS.get_num_threads()),
            "julia_threads": str(self.julia.Threads.nthreads()),
            "optimisation": str(self.julia.Base.JLOptions().opt_level),
            "project": os.environ.get("PYTHON_JULIACALL_PROJECT", ""),
            "executable": os.environ.get("PYTHON_JULIACALL_EXE", ""),
        }

    def threads(self) -> dict[str, int]:
        julia = self.julia
        return {
            "Julia's BLAS": int(julia.LinearAlgebra.BLAS.get_num_threads()),
            "Julia": int(julia.Threads.nthreads()),
        }

    def probes(self) -> rates.Probes:
        make = self.julia.seval(
            """function (T, n, m)
                n > 0 && return let source = ones(T, n), target = similar(source)
                    () -> (copyto!(target, source); nothing)
                end
                left, right, result = ones(T, m, m), ones(T, m, m), zeros(T, m, m)
                return () -> (LinearAlgebra.mul!(result, left, right); nothing)
            end"""
        )
        number = self.julia.Float64 if self.precision == "float64" else self.julia.Float32
        return rates.Probes(
            copy=lambda count: make(number, count, 0),
            product=lambda order: make(number, 0, order),
            cache=rates.host_cache(),
        )

    def device_peak(self) -> int | None:
        return None


BACKEND = JuliaBackend
