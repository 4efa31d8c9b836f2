"""A worker, a cell, and a clock that pytest-benchmark can read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from diffprog import tasks
from diffprog.backends import find_julia
from diffprog.records import protocol
from diffprog.run import files, variables
from diffprog.run.workers import Worker, environment
from diffprog.spec import Case


class WorkerClock:
    """Seconds that workers have timed so far, all together: the timer that pytest-benchmark is given."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


CLOCK = WorkerClock()


class Bench:
    """One prepared cell; ``call`` has the worker time one call and moves the clock on by what it took."""

    def __init__(self, worker: Worker, engine: str, switches: dict[str, str]) -> None:
        self.worker = worker
        self.engine = engine
        self.switches = switches

    def call(self, phase: str) -> None:
        reply = self.worker.ask(protocol.Sample(phase), timeout=600)
        assert isinstance(reply, protocol.Sampled), reply
        CLOCK.seconds += reply.seconds


Workers = dict[tuple[str, str], tuple[Worker, dict[str, str]]]
"""By task and backend: a worker, and the switches that it was opened with."""


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """One worker for each task and backend, started when first asked for."""
    started: Workers = {}
    yield started
    for worker, _ in started.values():
        worker.close()


def refuse_what_slows(environment: Mapping[str, str], switches: Mapping[str, str]) -> None:
    """A benchmark is of the program that users run: it fails under a switch that spares compilers their work, whether
    it stands in a worker's environment or the framework says so.
    """
    told = variables.slowing(environment)
    told += [f"{name}: {said}" for name, said in switches.items() if name in ("jit", "optimisations", "compile")]
    told += [f"optimisation: {level}" for name, level in switches.items() if name == "optimisation" and level != "2"]
    if told:
        pytest.fail(f"no benchmark: the worker would run under {', '.join(told)}", pytrace=False)


def prepare(workers: Workers, folder: Path, case: Case, backend: str, method: str) -> Bench:
    """The cell, ready in its worker; skips where the backend or method is not to be had."""
    search = find_julia.find() if backend == "julia" else find_julia.Search()
    if backend == "julia" and search.julia is None:
        pytest.skip(f"Julia is unavailable: {search.reason}")
    threads = int(os.environ.get("DIFFPROG_THREADS", "1"))
    if (case.task, backend) not in workers:
        env = environment("float64", "cpu", threads, search.julia)
        worker = Worker(env, folder / f"{case.task}-{backend}.log", threads)
        workers[case.task, backend] = worker, {}
        opened = ask(worker, protocol.Open(backend, "float64", "cpu", threads, protocol.VERSION))
        refuse_what_slows(env, opened.switches)
        workers[case.task, backend] = worker, opened.switches
    worker, switches = workers[case.task, backend]
    inputs = str(files.write_inputs(folder, case))
    ready = ask(worker, protocol.Prepare(case.task, case.variant, case.size, method, inputs))
    return Bench(worker, ready.made_with, switches)


def ask(worker: Worker, request: protocol.Request) -> protocol.Ready:
    reply = worker.ask(request, timeout=600)
    if isinstance(reply, protocol.Failure) and reply.outcome in ("unavailable", "unsupported"):
        pytest.skip(reply.reason)
    assert isinstance(reply, protocol.Ready), reply
    return reply


def cells(size: str) -> list[tuple[Case, str]]:
    """Every case of a size with every method."""
    found = []
    for name in tasks.NAMES:
        task = tasks.get(name)
        found += [(Case(name, v, size, 0), m) for v in task.variants for m in task.methods]
    return found
