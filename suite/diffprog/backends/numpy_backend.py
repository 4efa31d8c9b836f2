"""NumPy: the reference. Its gradients are written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from diffprog import tasks
from diffprog.backends.base import GRADIENT, Ask, Pace, Prepared, Trainer, by_hand, in_place, in_precision
from diffprog.errors import Unsupported
from diffprog.measure import rates
from diffprog.spec import Array, Arrays, dtype


class NumpyAdam:
    """NumPy has no optimisers. Source: Kingma, Ba, arXiv:1412.6980, algorithm 1."""

    def __init__(
        self,
        gradient_at: Callable[[Array, int], tuple[float, Array]],
        theta: Array,
        rate: float,
        pace: Pace | None = None,
    ) -> None:
        self._gradient_at, self._theta, self._rate, self._pace = gradient_at, theta.copy(), rate, pace
        self._mean, self._square, self._steps = np.zeros_like(theta), np.zeros_like(theta), 0

    def step(self, batch: int) -> float:
        loss, gradient = self._gradient_at(self._theta, batch)
        self._steps += 1
        self._mean += (1 - 0.9) * (gradient - self._mean)
        self._square += (1 - 0.999) * (gradient**2 - self._square)
        mean, square = self._mean / (1 - 0.9**self._steps), self._square / (1 - 0.999**self._steps)
        rate: float | Array = self._rate
        if self._pace is not None:
            rate = rate * self._pace.left(self._steps - 1) * self._pace.factors
        self._theta -= rate * mean / (np.sqrt(square) + 1e-8)
        return loss

    def theta(self) -> Array:
        return self._theta.copy()


class NumpyBackend:
    name = "numpy"

    def open(self, precision: str, device: str, threads: int) -> None:
        if device != "cpu":
            raise Unsupported(f"NumPy computes on the CPU only, not on {device}")
        import scipy.special  # noqa: F401  - so that no timed call pays for the import

        self.precision = dtype(precision)

    def prepare(self, task: str, config: Any, method: str, inputs: Arrays, ask: Ask = GRADIENT) -> Prepared:
        try:
            functions = tasks.functions(task, self.name, config, method)
        except NotImplementedError as error:
            raise Unsupported(str(error)) from error
        data = in_precision(inputs, self.precision)
        theta = data.pop("params")
        if functions.check is not None:
            functions.check(theta, data)
        named, value = functions.named, functions.value
        derivative: Callable[..., Any] | None = functions.gradient
        params: Any = theta
        if named is not None:
            params, value, derivative = named.cut(theta), named.loss, named.gradient
        arguments: tuple[Any, ...] = (params, data)
        if ask.operator in ("jvp", "hvp"):
            derivative = getattr(functions, ask.operator)
            arguments = (theta, data, ask.direction.astype(self.precision))
        if derivative is None:
            raise Unsupported(f"no {ask.operator} is written by hand for method {method} of {task}")
        flat = np.asarray if named is None or named.flat is None else named.flat

        def elsewhere(call: Any, read: Callable[[Any], Any], x: Array) -> Any:
            """A model's numbers are no views of ``theta``, so a model gets others."""
            if named is None:
                return in_place(theta)(call, read, x)
            return read(call.func(named.cut(x.astype(self.precision)), *call.args[1:]))

        return Prepared(
            value=partial(value, params, data),
            derivative=partial(derivative, *arguments),
            synchronise=lambda result: None,
            fetch_value=float,
            fetch=lambda result: (float(result[0]), flat(result[1])),
            value_at=lambda x: float(functions.value(x.astype(self.precision), data)),
            gradient_at=lambda x: np.asarray(functions.gradient(x.astype(self.precision), data)[1]),
            outputs=partial(functions.outputs, theta, data),
            work=partial(functions.work, theta, data),
            value_by_hand=by_hand(value, params, data),
            derivative_by_hand=by_hand(derivative, *arguments),
            made_with=functions.made_with,
            elsewhere=elsewhere,
        )

    def trainer(self, task: str, config: Any, method: str, batches: Sequence[Arrays], source: Array) -> Trainer:
        try:
            functions = tasks.functions(task, self.name, config, method)
        except NotImplementedError as error:
            raise Unsupported(str(error)) from error
        cast = [in_precision(data, self.precision) for data in batches]

        def gradient_at(theta: Array, batch: int) -> tuple[float, Array]:
            value, theta_bar = functions.gradient(theta, cast[batch])
            return float(value - source @ theta), theta_bar - source

        return Trainer(
            batches=len(cast),
            gradient_at=gradient_at,
            outputs_at=lambda theta: functions.outputs(theta, cast[0]),
            adam=partial(NumpyAdam, gradient_at),
            made_with=functions.made_with,
        )

    def versions(self) -> dict[str, str]:
        import scipy

        return {"numpy": np.__version__, "scipy": scipy.__version__}

    def switches(self) -> dict[str, str]:
        from threadpoolctl import threadpool_info

        return {
            f"{pool['user_api']}:{pool['internal_api']}": f"{pool['num_threads']} threads" for pool in threadpool_info()
        }

    def threads(self) -> dict[str, int]:
        return {}  # those of BLAS, which the worker knows

    def probes(self) -> rates.Probes:
        def copy(count: int) -> rates.Call:
            source = np.ones(count, self.precision)
            return partial(np.copyto, np.empty_like(source), source)

        def product(order: int) -> rates.Call:
            left, right = np.ones((order, order), self.precision), np.ones((order, order), self.precision)
            return partial(np.matmul, left, right, out=np.empty_like(left))

        return rates.Probes(copy, product, rates.host_cache())

    def device_peak(self) -> int | None:
        return None


BACKEND = NumpyBackend
