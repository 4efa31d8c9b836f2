"""What the bridge costs: crossing it by size, starting, and a task of the suite through it.

Each way is measured in a process of its own (``python -m diffprog.interop.price WAY FILE``), by the suite's one clock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from diffprog import tasks
from diffprog.interop import JuliaFunction, Route, route, task_function
from diffprog.measure import clock
from diffprog.run import files
from diffprog.spec import Array

WAYS = ("in_process", "own_thread", "worker")
SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
"""Doubles that cross."""
TASKS = (("qcbm", "gaussian", "small"), ("flow", "density", "tiny"), ("trg", "classic", "tiny"))
SAMPLES = 15


class Price(msgspec.Struct, frozen=True):
    """Raw samples of one thing: ``what``, by ``way``, with ``size`` doubles (0: does not apply), s a call."""

    way: str
    what: str
    size: int
    seconds: list[float]

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))


class Prices(msgspec.Struct):
    """All of one process, with the arrays that had to be copied in it and the versions that took part."""

    prices: list[Price]
    copies: int
    versions: dict[str, str]


def _run(call: Callable[[], Any]) -> clock.Run:
    return clock.looped(call, lambda result: None)


def _sampled(way: str, size: int, runs: dict[str, clock.Run]) -> Iterator[Price]:
    for name, found in clock.sample(runs, SAMPLES, 0.0).items():
        own, _, what = name.rpartition(": ")
        yield Price(own or way, what, size, found.seconds)


def _crossing(way: str, by: Route, sizes: tuple[int, ...]) -> Iterator[Price]:
    """A call with n doubles that returns n others; nothing is computed."""
    there_and_back = by.load(JuliaFunction("x -> similar(x)"))
    there = by.load(JuliaFunction("x -> length(x)"))
    for size in sizes:
        x = np.ones(size)
        runs = {
            "there": _run(partial(there.primal, [x])),
            "there and back": _run(partial(there_and_back.primal, [x])),
        }
        if way == "in_process":
            runs |= _by_juliacall(x)
        yield from _sampled(way, size, runs)


def _by_juliacall(x: Array) -> dict[str, clock.Run]:
    from juliacall import Main

    there, back = Main.seval("x -> length(x)"), Main.seval("x -> similar(x)")
    callback = Main.seval("(f, x) -> (f(x); nothing)")
    array = Main.seval("n -> ones(n)")(x.size)
    return {
        "juliacall: there": _run(lambda: there(x)),
        "juliacall: there and back": _run(lambda: np.asarray(back(x))),
        "juliacall: return": _run(lambda: np.asarray(array)),
        "juliacall: callback": _run(lambda: callback(len, array)),
        "numpy: copy": _run(lambda: x.copy()),
    }


def _numbers(way: str, by: Route) -> Iterator[Price]:
    """A function of one number."""
    double = by.load(JuliaFunction("x -> 2x"))
    x = np.array(1.0)
    runs = {"number": _run(lambda: double.primal([x]))}
    if way == "in_process":
        from juliacall import Main

        doubled = Main.seval("x -> 2x")
        runs["juliacall: number"] = _run(lambda: doubled(1.0))
    yield from _sampled(way, 1, runs)


def _through_torch(way: str, by: Route, sizes: tuple[int, ...]) -> Iterator[Price]:
    """The same crossing as an operation of PyTorch's, if it is there; and what DLPack costs alone."""
    try:
        import torch
    except ImportError:
        return
    from diffprog.interop import torch_op

    op = torch_op(
        JuliaFunction("Operation(x -> similar(x); reverse = x -> (similar(x), y -> (similar(y),)))"), route=by
    )
    for size in sizes:
        x, array = torch.ones(size, dtype=torch.float64), np.ones(size)
        with_grad = torch.ones(size, dtype=torch.float64, requires_grad=True)
        bar = torch.ones(size, dtype=torch.float64)

        def backward(with_grad: Any = with_grad, bar: Any = bar) -> Any:
            return torch.autograd.grad(op(with_grad), with_grad, bar)

        runs = {
            "torch operation": _run(partial(op, x)),
            "torch operation and its pullback": _run(backward),
        }
        if way == "in_process":
            runs["torch: DLPack"] = _run(partial(torch.from_dlpack, array))
        yield from _sampled(way, size, runs)


def _through_task(way: str, by: Route, task: str, variant: str, size: str) -> Iterator[Price]:
    """Value and gradient of a task: first call, then steady calls beside the same within Julia."""
    chosen = tasks.get(task)
    theta = chosen.draw(chosen.configure(variant, size), 0)["params"]
    start = perf_counter()
    loaded = by.load(task_function(task, variant, size))
    bar = np.ones(())

    def gradient() -> Any:
        y, pullback = loaded.forward([theta])
        return y, pullback([bar])

    gradient()
    name = f"{task} {variant} {size}"
    yield Price(way, f"{name}: first call", theta.size, [perf_counter() - start])
    runs = {
        name: _run(gradient),
        f"julia: {name}": lambda calls: float(loaded.seconds_in_julia([theta], calls, with_pullback=True).sum()),
    }
    if way == "in_process":
        runs[f"juliacall: {name}"] = _run(_task_by_juliacall(task, variant, size, theta))
    yield from _sampled(way, theta.size, runs)


def _task_by_juliacall(task: str, variant: str, size: str, theta: Array) -> Callable[[], Any]:
    """What the suite's Julia backend does: juliacall with wrapped memory."""
    from juliacall import Main

    flat = task_function(task, variant, size).data
    options = {name: np.asarray(x) if isinstance(x, np.ndarray) else x for name, x in flat.items()}
    wrap = Main.DiffProgTasks.wrap
    held = {
        name: wrap(x.dtype.name, x.ctypes.data, *reversed(x.shape)) if isinstance(x, np.ndarray) else x
        for name, x in options.items()
    }
    problem = Main.DiffProgTasks.Bridge.case_problem(Main.DiffProgTasks.options(**held))
    wrapped = wrap(theta.dtype.name, theta.ctypes.data, theta.size)

    def gradient(_memory: Any = (options, theta)) -> Any:
        value, slope = Main.DiffProgTasks.gradient(problem, wrapped)
        return float(value), np.asarray(slope)

    return gradient


def measure(way: str, sizes: tuple[int, ...] = SIZES) -> Prices:
    """Everything that can be measured in one process of ``way``, a member of WAYS.

    Raises:
        BridgeError: if there is no Julia.
    """
    start = perf_counter()
    by = route("worker") if way == "worker" else route("in_process", thread="own" if way == "own_thread" else "main")
    by.held()
    found = [Price(way, "start", 0, [perf_counter() - start])]
    found += _numbers(way, by)
    found += _crossing(way, by, sizes)
    for task in TASKS:
        found += _through_task(way, by, *task)
    copies = by.copies
    found += _through_torch(way, by, sizes)
    names = by.load(JuliaFunction("() -> Vector{UInt8}(string(VERSION))")).primal([])
    return Prices(found, copies, {"julia": names[0].tobytes().decode(), "numpy": np.__version__})


def main() -> None:
    way, path = sys.argv[1:]
    files.write_atomically(Path(path), msgspec.json.encode(measure(way)).decode())


if __name__ == "__main__":
    main()
