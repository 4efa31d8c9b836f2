"""PyTorch. TF32 is off unless it is the precision that is asked for."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

from diffprog import engines, tasks
from diffprog.backends.base import GRADIENT, Ask, Pace, Prepared, Trainer, in_a_row, in_place, in_precision
from diffprog.errors import Unavailable, Unsupported
from diffprog.measure import rates
from diffprog.measure.clock import Bare
from diffprog.spec import Array, Arrays, dtype


class TorchAdam:
    """``torch.optim.Adam`` on the flat parameters; of a minimax on views of them, a group for each pace."""

    def __init__(
        self,
        torch: Any,
        objective: Callable[[Any, int], tuple[Any, Any]],
        theta: Any,
        rate: float,
        pace: Pace | None = None,
    ) -> None:
        self._objective, self._theta = objective, theta.clone()
        self._runs = [slice(None)] if pace is None else pace.runs()
        self._views = [self._theta[run] for run in self._runs]
        groups: list[dict[str, Any]] = [{"params": [view]} for view in self._views]
        if pace is not None:
            for group, run in zip(groups, self._runs, strict=True):
                factor = float(pace.factors[run.start])
                group |= {"lr": rate * abs(factor), "maximize": factor < 0}
        self._optimiser = torch.optim.Adam(groups, lr=rate, betas=(0.9, 0.999), eps=1e-8)
        self._schedule = None if pace is None else torch.optim.lr_scheduler.LambdaLR(self._optimiser, pace.left)

    def step(self, batch: int) -> float:
        loss, gradient = self._objective(self._theta, batch)
        for view, run in zip(self._views, self._runs, strict=True):
            view.grad = gradient[run]
        loss = float(loss.item())
        self._optimiser.step()
        if self._schedule is not None:
            self._schedule.step()
        return loss

    def theta(self) -> Array:
        host: Array = self._theta.detach().cpu().numpy().copy()
        return host


class TorchBackend:
    name = "torch"

    def open(self, precision: str, device: str, threads: int) -> None:
        try:
            import torch
        except ImportError as error:
            raise Unavailable(f"PyTorch cannot be imported ({error})", "python -m pip install torch") from error
        if device == "cuda" and not torch.cuda.is_available():
            raise Unavailable("PyTorch sees no CUDA device (torch.cuda.is_available() is False)")
        self.torch = torch
        self.device = torch.device(device)
        self.precision = dtype(precision)
        if torch.get_num_interop_threads() != 1:  # can be set only once in a process
            torch.set_num_interop_threads(1)
        self._settings = threads, precision == "tf32"
        self._settle()

    def _settle(self) -> None:
        """Threads and precisions are the run's, whatever the file of a model has set when it was imported."""
        torch, (threads, rounded) = self.torch, self._settings
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("high" if rounded else "highest")
        torch.backends.cuda.matmul.allow_tf32 = rounded
        torch.backends.cudnn.allow_tf32 = rounded
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # else every `empty` is written once for nothing
        if self.device.type == "cuda":
            # One library for all decompositions: which of two a heuristic takes would depend on the size.
            torch.backends.cuda.preferred_linalg_library("cusolver")

    def prepare(self, task: str, config: Any, method: str, inputs: Arrays, ask: Ask = GRADIENT) -> Prepared:
        from diffprog.backends import torch_cuda, torch_engines, torch_named

        torch, on_gpu = self.torch, self.device.type == "cuda"
        try:
            functions = tasks.functions(task, self.name, config, method)
        except NotImplementedError as error:
            raise Unsupported(str(error)) from error
        self._settle()
        host = in_precision(inputs, self.precision)

        def place() -> dict[str, Any]:
            return {name: torch.from_numpy(array).to(self.device) for name, array in host.items()}

        data = place()
        theta = data.pop("params")
        if functions.check is not None:
            functions.check(theta, data)
        ask = ask.named(self.name, task)
        if ask.engine == "cudagraph" and not on_gpu:
            raise Unsupported(engines.ON_CUDA)
        if ask.engine == "compile":
            if compile_is_off():
                raise Unavailable("torch.compile is switched off by TORCHDYNAMO_DISABLE or TORCH_COMPILE_DISABLE")
            forget_compiled(torch)
        named, params = functions.named, theta
        value, derivative = torch_engines.build(functions, ask)
        if named is not None:
            params = torch_named.leaves(named.cut(theta), ask)
        if ask.engine not in ("eager", "cudagraph") and functions.loss is not None:
            functions.loss(theta, data)  # what a task keeps from its first call must not be made within a transform
        arguments: tuple[Any, ...] = (params, data)
        if ask.operator in ("jvp", "hvp"):
            direction = torch.from_numpy(ask.direction.astype(self.precision)).to(self.device)
            arguments += (direction if named is None else named.cut(direction),)
        if on_gpu:
            gc.collect()  # what the cell before this one held may be in cycles
            torch.cuda.reset_peak_memory_stats()

        def synchronise(result: Any) -> None:
            if on_gpu:
                torch.cuda.synchronize()

        def fetch(result: Any) -> tuple[float, Array]:
            found = result[1] if named is None else torch_named.filled(result[1], params)
            return float(result[0].item()), in_a_row(found, lambda x: x.cpu().numpy(), params)

        def loop(function: Any, *arguments: Any) -> Any:
            def run(calls: int) -> float:
                start = perf_counter()
                for _ in range(calls):
                    function(*arguments)
                    if on_gpu:
                        torch.cuda.synchronize()
                return perf_counter() - start

            return Bare(run, partial(function, *arguments))

        return Prepared(
            value=partial(value, params, data),
            derivative=partial(derivative, *arguments),
            synchronise=synchronise,
            fetch_value=lambda result: float(result.item()),
            fetch=fetch,
            value_at=lambda x: float(functions.value(torch.as_tensor(x).to(theta), data).item()),
            gradient_at=lambda x: functions.gradient(torch.as_tensor(x).to(theta), data)[1].cpu().numpy(),
            outputs=lambda: {name: x.cpu().numpy() for name, x in functions.outputs(theta, data).items()},
            work=partial(functions.work, theta, data),
            value_by_hand=loop(value, params, data),
            derivative_by_hand=loop(derivative, *arguments),
            made_with=functions.made_with,
            switches=dict(functions.switches.get(self.device.type, {})),
            elsewhere=in_place(theta, torch.as_tensor),
            place=place if on_gpu else None,
            by_events=partial(torch_cuda.by_events, torch) if on_gpu else None,
            round_trips=partial(torch_cuda.round_trips, torch) if on_gpu else None,
        )

    def trainer(self, task: str, config: Any, method: str, batches: Sequence[Arrays], source: Array) -> Trainer:
        torch = self.torch
        try:
            functions = tasks.functions(task, self.name, config, method)
        except NotImplementedError as error:
            raise Unsupported(str(error)) from error
        self._settle()

        def place(array: Array) -> Any:
            return torch.from_numpy(array).to(self.device)

        placed = [{k: place(x) for k, x in in_precision(data, self.precision).items()} for data in batches]
        tilt = place(source.astype(self.precision))

        def objective(theta: Any, batch: int) -> tuple[Any, Any]:
            value, theta_bar = functions.gradient(theta, placed[batch])
            return value - tilt @ theta, theta_bar - tilt

        def gradient_at(x: Array, batch: int) -> tuple[float, Array]:
            value, theta_bar = objective(place(x.astype(self.precision)), batch)
            return float(value.item()), theta_bar.cpu().numpy()

        def outputs_at(x: Array) -> Arrays:
            found = functions.outputs(place(x.astype(self.precision)), placed[0])
            return {name: array.cpu().numpy() for name, array in found.items()}

        def adam(x: Array, rate: float, pace: Pace | None = None) -> TorchAdam:
            return TorchAdam(torch, objective, place(x.astype(self.precision)), rate, pace)

        return Trainer(len(placed), gradient_at, outputs_at, adam, functions.made_with)

    def versions(self) -> dict[str, str]:
        found = {"torch": str(self.torch.__version__)}
        if self.device.type == "cuda":
            found |= {"cuda": str(self.torch.version.cuda), "gpu": self.torch.cuda.get_device_name()}
        return found

    def switches(self) -> dict[str, str]:
        torch = self.torch
        return (
            {
                "threads": str(torch.get_num_threads()),
                "interop_threads": str(torch.get_num_interop_threads()),
                "float32_matmul_precision": torch.get_float32_matmul_precision(),
                "tf32": str(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32),
            }
            | self._cuda_switches()
            | ({"compile": "off"} if compile_is_off() else {})
        )

    def threads(self) -> dict[str, int]:
        return {"torch": self.torch.get_num_threads(), "torch's inter-op pool": self.torch.get_num_interop_threads()}

    def _cuda_switches(self) -> dict[str, str]:
        if self.device.type != "cuda":
            return {}
        library = self.torch.backends.cuda.preferred_linalg_library()
        return {"linalg_library": str(library).rsplit(".", 1)[-1].lower()}

    def probes(self) -> rates.Probes:
        torch = self.torch
        options = {"dtype": getattr(torch, self.precision), "device": self.device}

        def complete(call: Any) -> rates.Call:
            def run() -> None:
                call()
                if self.device.type == "cuda":
                    torch.cuda.synchronize()

            return run

        def copy(count: int) -> rates.Call:
            source, target = torch.ones(count, **options), torch.empty(count, **options)
            return complete(partial(target.copy_, source))

        def product(order: int) -> rates.Call:
            left, right, result = (torch.ones(order, order, **options) for _ in range(3))
            return complete(partial(torch.mm, left, right, out=result))

        if self.device.type == "cuda":
            cache = getattr(torch.cuda.get_device_properties(self.device), "L2_cache_size", None)
        else:
            cache = rates.host_cache()
        return rates.Probes(copy, product, cache)

    def device_peak(self) -> int | None:
        return int(self.torch.cuda.max_memory_allocated()) if self.device.type == "cuda" else None


def compile_is_off() -> bool:
    """Whether PyTorch was told, by a variable that the user kept, to run what it is to compile as it is."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in ("TORCHDYNAMO_DISABLE", "TORCH_COMPILE_DISABLE"))


def forget_compiled(torch: Any) -> None:
    """What was compiled for the cells before is not this one's: neither in memory, nor in the worker's own caches."""
    torch.compiler.reset()
    caches = os.environ.get("DIFFPROG_CACHES", "")
    for name, kind in (("TORCHINDUCTOR_CACHE_DIR", "inductor"), ("TRITON_CACHE_DIR", "triton")):
        if caches and os.environ.get(name, "").startswith(caches):  # and not a folder that the user kept
            os.environ[name] = tempfile.mkdtemp(prefix=f"{kind}-", dir=caches)
    from torch._inductor import utils

    clear = getattr(utils, "clear_caches", None) or getattr(utils, "clear_inductor_caches", None)
    if clear is not None:
        clear()


BACKEND = TorchBackend
