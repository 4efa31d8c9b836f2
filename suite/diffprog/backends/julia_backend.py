"""Julia through juliacall: the package DiffProgTasks in ``julia/`` does the work, on memory that NumPy owns.

Which Julia, and with which environment, was settled by the parent (``diffprog.backends.find_julia``) and stands in the
worker's environment. All calls are made from the main thread: Julia called from another Python thread deadlocks.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Protocol

import numpy as np

from diffprog import tasks as known
from diffprog.backends.base import GRADIENT, Ask, Pace, Prepared, Trainer, by_hand, in_place, in_precision
from diffprog.errors import Unavailable, Unsupported
from diffprog.measure import rates
from diffprog.models import on_julia
from diffprog.spec import Array, Arrays, dtype


class JuliaAdam:
    """``Optimisers.Adam``, its state held by Julia."""

    def __init__(
        self, tasks: Any, problems: list[Any], source: Any, descent: Any, back: Callable[[Array], Array]
    ) -> None:
        self._tasks, self._problems, self._source, self._descent, self._back = tasks, problems, source, descent, back

    def step(self, batch: int) -> float:
        return float(self._tasks.step_b(self._descent, self._problems[batch], self._source))

    def theta(self) -> Array:
        return self._back(np.array(self._descent.parameters))


class Crossing(Protocol):
    """How a task's arrays are had by Julia, and what it makes of them."""

    def problem(self, data: Mapping[str, Any]) -> Any:
        """What Julia makes of wrapped arrays."""

    def arrays(self, inputs: Arrays) -> Arrays:
        """Inputs as they are to be wrapped."""

    def there(self, theta: Array) -> Array:
        """θ, or what belongs to it, in the order that Julia has it in."""

    def back(self, theta: Array) -> Array:
        """The same from Julia."""

    def outputs(self, found: Mapping[Any, Any]) -> Arrays:
        """Outputs from Julia."""

    def fetch_value(self, inputs: Arrays, held: Arrays) -> Callable[[Any], float]:
        """What brings a loss to the host."""

    def faults(self) -> AbstractContextManager[None]:
        """See `Prepared`."""


class AsItIs:
    """A task of the suite: memory as it is, so that a C-ordered (B, d) array is d × B in Julia."""

    def __init__(self, julia: Any, tasks: Any, task: str, config: Any, method: str) -> None:
        self._julia, self._tasks, self._task, self._config, self._method = julia, tasks, task, config, method
        self.faults = nullcontext

    def problem(self, data: Mapping[str, Any]) -> Any:
        from juliacall import JuliaError

        options = self._tasks.options
        try:
            return self._tasks.build(
                self._task, self._method, options(**dataclasses.asdict(self._config)), options(**data)
            )
        except JuliaError as error:
            if self._julia.isa(error.exception, self._julia.ArgumentError):
                raise Unsupported(str(error.exception.msg)) from error
            raise

    def arrays(self, inputs: Arrays) -> Arrays:
        return {name: np.ascontiguousarray(x) for name, x in inputs.items()}

    def there(self, theta: Array) -> Array:
        return np.ascontiguousarray(theta)

    def back(self, theta: Array) -> Array:
        return theta

    def outputs(self, found: Mapping[Any, Any]) -> Arrays:
        """Column-major d×B back to (B, d): the transpose is C-contiguous again."""
        return {str(name): np.array(np.asarray(x).T) for name, x in found.items()}

    def fetch_value(self, inputs: Arrays, held: Arrays) -> Callable[[Any], float]:
        return float


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
        self._threads = threads
        self._settle()
        self.tasks = Main.DiffProgTasks

    def _settle(self) -> None:
        """Threads are the run's, whatever the file of a model has set when it was loaded."""
        self.julia.LinearAlgebra.BLAS.set_num_threads(self._threads)

    def _wrap(self, array: Array) -> Any:
        """A Julia Array on the array's own memory; a C-order (B, d) array becomes d×B. The caller keeps it alive."""
        return self.tasks.wrap(array.dtype.name, array.ctypes.data, *reversed(array.shape))

    def _crossing(self, task: str, config: Any, method: str) -> Crossing:
        if known.get(task).folder is None:
            return AsItIs(self.julia, self.tasks, task, config, method)
        return on_julia.Model(self.julia, self.tasks, config, self.precision)

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

    def prepare(self, task: str, config: Any, method: str, inputs: Arrays, ask: Ask = GRADIENT) -> Prepared:
        tasks, crossing = self.tasks, self._crossing(task, config, method)
        given = in_precision(inputs, self.precision)
        host = crossing.arrays(given)
        wrapped = {name: self._wrap(array) for name, array in host.items()}
        theta = wrapped.pop("params")
        problem = crossing.problem(wrapped)
        self._settle()
        value = tasks.value
        arguments: tuple[Any, ...] = (theta,)
        with crossing.faults():
            derivation = self._derivation(task, problem, ask.named(self.name, task))
        direction = ask.direction.astype(self.precision)
        if ask.operator in ("jvp", "hvp"):
            direction = crossing.there(direction)
            arguments += (self._wrap(direction),)

        def value_at(x: Array) -> float:
            x = crossing.there(x.astype(self.precision))
            return float(value(problem, self._wrap(x)))

        def gradient_at(x: Array) -> Array:
            x = crossing.there(x.astype(self.precision))
            return crossing.back(np.array(tasks.gradient(problem, self._wrap(x))[1]))

        def fetch(result: Any) -> tuple[float, Any]:
            loss, found = result
            slope = np.array(found, dtype=self.precision)
            return float(loss), slope if ask.operator == "jvp" else crossing.back(slope)

        def synchronise(result: Any, _memory: Any = (host, direction)) -> None:
            """Julia returns finished results. The default argument keeps the wrapped memory alive."""

        return Prepared(
            value=partial(value, problem, theta),
            derivative=partial(tasks.derive, derivation, *arguments),
            synchronise=synchronise,
            fetch_value=crossing.fetch_value(given, host),
            fetch=fetch,
            value_at=value_at,
            gradient_at=gradient_at,
            outputs=lambda: crossing.outputs(tasks.named(tasks.outputs(problem, theta))),
            work=lambda: {str(k): int(v) for k, v in tasks.named(tasks.work(problem, theta)).items()},
            value_by_hand=by_hand(value, problem, theta),
            derivative_by_hand=by_hand(tasks.derive, derivation, *arguments),
            made_with=str(tasks.made_with(problem)),
            elsewhere=in_place(host["params"], crossing.there),
            faults=crossing.faults,
        )

    def trainer(self, task: str, config: Any, method: str, batches: Sequence[Arrays], source: Array) -> Trainer:
        tasks, crossing = self.tasks, self._crossing(task, config, method)
        held = [crossing.arrays(in_precision(data, self.precision)) for data in batches]
        problems = [crossing.problem({name: self._wrap(array) for name, array in data.items()}) for data in held]
        self._settle()
        tilt = crossing.there(source.astype(self.precision))
        wrapped_tilt = self._wrap(tilt)

        def there(x: Array) -> Array:
            return crossing.there(x.astype(self.precision))

        def gradient_at(x: Array, batch: int, _memory: Any = (held, tilt)) -> tuple[float, Array]:
            """The default argument keeps the wrapped memory alive."""
            theta = there(x)
            value, theta_bar = tasks.gradient(problems[batch], self._wrap(theta))
            return float(value) - float(tilt @ theta), crossing.back(np.array(theta_bar) - tilt)

        def outputs_at(x: Array) -> Arrays:
            theta = there(x)
            return crossing.outputs(tasks.named(tasks.outputs(problems[0], self._wrap(theta))))

        def adam(x: Array, rate: float, pace: Pace | None = None) -> JuliaAdam:
            theta = there(x)
            more: tuple[Any, ...] = ()
            if pace is not None:
                factors = there(pace.factors)
                more = self._wrap(factors), pace.steps
            descent = tasks.adam(self._wrap(theta), rate, *more)
            return JuliaAdam(tasks, problems, wrapped_tilt, descent, crossing.back)

        made_with = str(tasks.made_with(problems[0]))
        return Trainer(len(problems), gradient_at, outputs_at, adam, made_with, crossing.faults)

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
