"""JAX, under jit. Double precision is switched on by the worker's environment, before JAX is imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from diffprog import tasks
from diffprog.backends.base import GRADIENT, Ask, Pace, Prepared, Trainer, in_a_row, in_precision
from diffprog.errors import Unavailable, Unsupported
from diffprog.measure import rates
from diffprog.measure.clock import Bare
from diffprog.spec import Array, Arrays, dtype


class JaxAdam:
    """``optax.adam``, its update compiled together with the gradient."""

    def __init__(
        self,
        jax: Any,
        objective: Callable[..., Any],
        batches: list[Any],
        theta: Any,
        rate: float,
        pace: Pace | None = None,
    ) -> None:
        try:
            import optax
        except ImportError as error:
            raise Unavailable(f"optax cannot be imported ({error})", "python -m pip install optax") from error
        optimiser = optax.adam(rate, b1=0.9, b2=0.999, eps=1e-8)
        if pace is not None:
            factors = jax.numpy.asarray(pace.factors, theta.dtype)
            optimiser = optax.chain(
                optimiser,
                # Optax's own linear schedule is of float32 numbers.
                optax.scale_by_schedule(lambda count: pace.left(count.astype(theta.dtype))),
                optax.stateless(lambda change, _: factors * change),
            )

        @jax.jit
        def update(theta: Any, state: Any, data: Any) -> tuple[Any, Any, Any]:
            loss, theta_bar = objective(theta, data)
            change, state = optimiser.update(theta_bar, state)
            return optax.apply_updates(theta, change), state, loss

        self._update, self._batches = update, batches
        self._theta, self._state = theta, optimiser.init(theta)

    def step(self, batch: int) -> float:
        self._theta, self._state, loss = self._update(self._theta, self._state, self._batches[batch])
        return float(loss)

    def theta(self) -> Array:
        return np.asarray(self._theta)


class JaxBackend:
    name = "jax"

    def open(self, precision: str, device: str, threads: int) -> None:
        try:
            import jax
        except ImportError as error:
            raise Unavailable(f"JAX cannot be imported ({error})", "python -m pip install jax") from error
        try:
            self.device = jax.devices("gpu" if device == "cuda" else "cpu")[0]
        except (RuntimeError, AssertionError) as error:  # the latter where its CUDA plugin is not installed
            raise Unavailable(f"JAX sees no {device} device", 'python -m pip install "jax[cuda]"') from error
        self.jax = jax
        self.precision = dtype(precision)
        self._rounded = precision == "tf32"
        self._settle()

    def _settle(self) -> None:
        """Precisions are the run's, whatever the file of a model has set when it was imported."""
        config = self.jax.config
        config.update("jax_enable_x64", self.precision == "float64")
        config.update("jax_default_matmul_precision", "tensorfloat32" if self._rounded else "highest")

    def prepare(self, task: str, config: Any, method: str, inputs: Arrays, ask: Ask = GRADIENT) -> Prepared:
        from diffprog.backends import jax_engines

        jax = self.jax
        try:
            functions = tasks.functions(task, self.name, config, method)
        except NotImplementedError as error:
            raise Unsupported(str(error)) from error
        self._settle()

        def place(x: Array) -> Any:
            return jax.device_put(x.astype(self.precision), self.device)

        host = in_precision(inputs, self.precision)

        def place_all() -> dict[str, Any]:
            return {name: jax.device_put(array, self.device) for name, array in host.items()}

        data = place_all()
        theta = data.pop("params")
        if functions.check is not None:
            functions.check(theta, data)
        ask = ask.named(self.name, task)
        named = functions.named
        value, gradient = jax.jit(functions.value if named is None else named.loss), jax.jit(functions.gradient)
        derivative = jax.jit(jax_engines.derivative(functions, ask))

        def cut(x: Any) -> Any:
            return x if named is None else named.cut(x)

        params = cut(theta)
        arguments: tuple[Any, ...] = (params if jax_engines.by_name(ask) else theta, data)
        if ask.operator in ("jvp", "hvp"):
            direction = place(ask.direction)
            arguments += (cut(direction) if jax_engines.by_name(ask) else direction,)
        jax.block_until_ready((params, arguments))

        def loop(function: Any, *arguments: Any) -> Any:
            def run(calls: int) -> float:
                start = perf_counter()
                for _ in range(calls):
                    jax.block_until_ready(function(*arguments))
                return perf_counter() - start

            return Bare(run, partial(function, *arguments))

        def elsewhere(call: Any, read: Callable[[Any], Any], x: Array) -> Any:
            """Arrays cannot be written: the function that is timed gets others in the place of ``theta``."""
            first = place(x) if call.args[0] is theta else cut(place(x))
            return read(call.func(first, *call.args[1:]))

        return Prepared(
            value=partial(value, params, data),
            derivative=partial(derivative, *arguments),
            synchronise=jax.block_until_ready,
            fetch_value=float,
            fetch=lambda result: (float(result[0]), in_a_row(result[1], np.asarray, params)),
            value_at=lambda x: float(value(cut(place(x)), data)),
            gradient_at=lambda x: np.asarray(gradient(place(x), data)[1]),
            outputs=lambda: {name: np.asarray(x) for name, x in jax.jit(functions.outputs)(theta, data).items()},
            work=partial(functions.work, theta, data),
            value_by_hand=loop(value, params, data),
            derivative_by_hand=loop(derivative, *arguments),
            made_with=functions.made_with,
            switches=dict(functions.switches.get("cuda" if self.device.platform == "gpu" else "cpu", {})),
            elsewhere=elsewhere,
            place=place_all if self.device.platform == "gpu" else None,
        )

    def trainer(self, task: str, config: Any, method: str, batches: Sequence[Arrays], source: Array) -> Trainer:
        jax = self.jax
        try:
            functions = tasks.functions(task, self.name, config, method)
        except NotImplementedError as error:
            raise Unsupported(str(error)) from error
        self._settle()

        def place(array: Array) -> Any:
            return jax.device_put(array, self.device)

        placed = [{k: place(x) for k, x in in_precision(data, self.precision).items()} for data in batches]
        tilt = place(source.astype(self.precision))

        def objective(theta: Any, data: Any) -> tuple[Any, Any]:
            value, theta_bar = functions.gradient(theta, data)
            return value - tilt @ theta, theta_bar - tilt

        compiled, outputs = jax.jit(objective), jax.jit(functions.outputs)

        def gradient_at(x: Array, batch: int) -> tuple[float, Array]:
            value, theta_bar = compiled(place(x.astype(self.precision)), placed[batch])
            return float(value), np.asarray(theta_bar)

        def outputs_at(x: Array) -> Arrays:
            found = outputs(place(x.astype(self.precision)), placed[0])
            return {name: np.asarray(array) for name, array in found.items()}

        def adam(x: Array, rate: float, pace: Pace | None = None) -> JaxAdam:
            return JaxAdam(jax, objective, placed, place(x.astype(self.precision)), rate, pace)

        return Trainer(len(placed), gradient_at, outputs_at, adam, functions.made_with)

    def versions(self) -> dict[str, str]:
        import jaxlib

        found = {"jax": self.jax.__version__, "jaxlib": jaxlib.__version__}
        if self.device.platform == "gpu":
            found["gpu"] = self.device.device_kind
        return found

    def switches(self) -> dict[str, str]:
        config = self.jax.config
        found = {
            "x64": str(config.jax_enable_x64),
            "matmul_precision": str(config.jax_default_matmul_precision),
            "platform": self.device.platform,
        }
        # Told where they are not as in JAX itself.
        if config.jax_disable_jit:
            found["jit"] = "off"
        if getattr(config, "values", {}).get("jax_disable_most_optimizations"):
            found["optimisations"] = "most are off"
        if config.jax_compilation_cache_dir:
            found["compilation_cache"] = str(config.jax_compilation_cache_dir)
        return found

    def threads(self) -> dict[str, int]:
        """XLA does not tell; on Linux its threads have a name."""
        names = [path.read_text(errors="replace").strip() for path in Path("/proc/self/task").glob("*/comm")]
        return {"XLA": names.count("tf_XLAEigen")}

    def probes(self) -> rates.Probes:
        jax = self.jax
        dtype = np.dtype(self.precision)

        def ones(*shape: int) -> Any:
            return jax.block_until_ready(jax.device_put(np.ones(shape, dtype), self.device))

        def copy(count: int) -> rates.Call:
            # In place: the memory that a new result would take is a matter of the allocator.
            negative = jax.jit(lambda x: -x, donate_argnums=0)
            held = [ones(count)]

            def run() -> None:
                held[0] = jax.block_until_ready(negative(held[0]))

            return run

        def product(order: int) -> rates.Call:
            left, right, multiply = ones(order, order), ones(order, order), jax.jit(jax.numpy.matmul)
            return lambda: jax.block_until_ready(multiply(left, right))

        return rates.Probes(copy, product, rates.host_cache() if self.device.platform == "cpu" else None)

    def device_peak(self) -> int | None:
        if self.device.platform != "gpu":
            return None
        stats = self.device.memory_stats() or {}
        return stats.get("peak_bytes_in_use")


BACKEND = JaxBackend
