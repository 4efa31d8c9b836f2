"""A worker, a cell, and a clock that pytest-benchmark can read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from suite import tasks
from suite.backends import find_julia
from suite.measure import protocol
from suite.run import files
from suite.run.workers import Worker, environment
from suite.spec import Case


class WorkerClock:
    """Seconds that workers have timed so far, all together: the timer that pytest-benchmark is given."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


CLOCK = WorkerClock()


class Bench:
    """One prepared cell; ``call`` has the worker time one call and moves the clock on by what it took."""

    def __init__(self, worker: Worker, engine: str) -> None:
        self.worker = worker
        self.engine = engine

    def call(self, phase: str) -> None:
        reply = self.worker.ask(protocol.Sample(phase), timeout=600)
        assert isinstance(reply, protocol.Sampled), reply
        CLOCK.seconds += reply.seconds


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Worker]]:
    """One worker for each task and backend, started when first asked for."""
    started: dict[tuple[str, str], Worker] = {}
    yield started
    for worker in started.values():
        worker.close()


def prepare(workers: dict[tuple[str, str], Worker], folder: Path, case: Case, backend: str, method: str) -> Bench:
    """The cell, ready in its worker; skips where the backend or method is not to be had."""
    search = find_julia.find() if backend == "julia" else find_julia.Search()
    if backend == "julia" and search.julia is None:
        pytest.skip(f"Julia is unavailable: {search.reason}")
    threads = int(os.environ.get("DIFFPROG_THREADS", "1"))
    worker = workers.get((case.task, backend))
    if worker is None:
        env = environment("float64", "cpu", threads, search.julia)
        worker = workers[case.task, backend] = Worker(env, folder / f"{case.task}-{backend}.log", threads)
        ask(worker, protocol.Open(backend, "float64", "cpu", threads, protocol.VERSION))
    inputs = str(files.write_inputs(folder, case))
    ready = ask(worker, protocol.Prepare(case.task, case.variant, case.size, method, inputs))
    return Bench(worker, ready.made_with)


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
