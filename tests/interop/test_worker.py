"""The worker route with a real Julia: what crosses, what is kept, and what happens when something breaks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from diffprog.backends.find_julia import Search
from diffprog.interop import BridgeError, JuliaError, JuliaFunction
from diffprog.interop.worker import Worker
from diffprog.spec import Array

pytestmark = pytest.mark.julia
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def worker(julia: Search) -> Iterator[Worker]:
    assert julia.julia is not None
    found = Worker(julia.julia)
    yield found
    found.close()


def call(worker: Worker, code: str, *x: Any, data: Any = None) -> list[Array]:
    return worker.load(JuliaFunction(code, data or {})).primal([np.asarray(one) for one in x])


DTYPES = ("float64", "float32", "complex128", "complex64", "int64", "int32", "uint8", "bool")


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 1, 4)])
def test_every_dtype_and_shape_there_and_back(worker: Worker, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    sent = [(3 * rng.standard_normal(shape)).astype(dtype) for dtype in DTYPES]
    found = worker.load(JuliaFunction("(x...) -> map(copy, x)")).primal(sent)
    for one, other in zip(found, sent, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_arrays_arrive_with_their_dimensions_reversed(worker: Worker) -> None:
    x = np.arange(6.0).reshape(2, 3)
    assert call(worker, "x -> collect(Int64, size(x))", x)[0].tolist() == [3, 2]
    np.testing.assert_array_equal(call(worker, "x -> x[1:2, :]", x)[0], x[:, :2])


def test_the_arenas_grow(worker: Worker) -> None:
    x = np.random.default_rng(0).standard_normal(1_000_000)
    np.testing.assert_array_equal(call(worker, "x -> [x; x]", x)[0], np.concatenate([x, x]))


def test_what_is_not_contiguous_is_copied_and_counted(worker: Worker) -> None:
    x = np.arange(12.0).reshape(3, 4)
    before = worker.copies
    np.testing.assert_array_equal(call(worker, "x -> 2x", x[:, ::2])[0], 2 * x[:, ::2])
    assert worker.copies == before + 1


def test_constants(worker: Worker) -> None:
    data = {"A": np.arange(4.0).reshape(2, 2), "k": 3, "c": 0.5, "how": "plus"}
    code = 'data -> x -> data.how == "plus" ? data.k .* (data.A * x) .+ data.c : error()'
    np.testing.assert_allclose(call(worker, code, [1.0, 2.0], data=data)[0], [12.5, 21.5])


def test_exceptions_of_julia_come_with_their_message(worker: Worker) -> None:
    with pytest.raises(JuliaError, match="DomainError with -1") as told:
        call(worker, "x -> sqrt(x[1])", [-1.0])
    assert told.value.kind == "DomainError"
    assert "sqrt" in told.value.backtrace
    with pytest.raises(JuliaError, match="ParseError"):
        worker.load(JuliaFunction("x -> ("))
    with pytest.raises(BridgeError, match="no second-order rule"):
        one = worker.load(JuliaFunction("Operation(x -> 2x; second = nothing)"))
        one.second([np.ones(1)], [np.ones(1)], [np.ones(1)])
    with pytest.raises(TypeError, match="float16 cannot cross"):
        call(worker, "x -> x", np.ones(3, dtype=np.float16))
    assert call(worker, "x -> x .+ 1", [1.0])[0].tolist() == [2.0]


def test_ctrl_c_stops_the_call_and_leaves_both_sides_usable(worker: Worker) -> None:
    endless = worker.load(JuliaFunction("x -> (while x[1] > 0; x = x .+ rand(1); end; x)"))
    process = worker._process
    for _ in range(2):
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            endless.primal([np.ones(1)])
        assert call(worker, "x -> x .+ 1", [1.0])[0].tolist() == [2.0]
    assert worker._process is process


def test_a_call_that_cannot_be_interrupted_costs_its_process(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker, "grace", 0.5)
    deaf = worker.load(JuliaFunction("x -> (while x[1] > 0; x[1] += rand(); end; x)"))  # it never gives way
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        deaf.primal([np.ones(1)])
    assert "its process was ended" in capfd.readouterr().err
    assert call(worker, "x -> x .+ 1", [1.0])[0].tolist() == [2.0]


def test_a_worker_that_dies_costs_what_it_kept_and_no_more(worker: Worker) -> None:
    double = worker.load(JuliaFunction("x -> 2x"))
    y, pullback = double.forward([np.ones(2)])
    with pytest.raises(BridgeError, match="killed by SIGKILL"):
        call(worker, "x -> ccall(:raise, Cint, (Cint,), 9)", [1.0])
    with pytest.raises(BridgeError, match="run the forward pass again"):
        pullback(y)
    assert double.primal([np.ones(2)])[0].tolist() == [2.0, 2.0]


def test_any_thread_may_call(worker: Worker) -> None:
    square = worker.load(JuliaFunction("x -> x .^ 2"))
    found: dict[int, Array] = {}

    def run(number: int) -> None:
        for _ in range(50):
            found[number] = square.primal([np.full(3, float(number))])[0]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((found[number] == number**2).all() for number in range(4))


def test_ten_thousand_calls_keep_nothing(worker: Worker) -> None:
    square = worker.load(JuliaFunction("x -> x .^ 2"))
    x = np.random.default_rng(0).standard_normal(5_000)

    def calls(count: int) -> int:
        for _ in range(count):
            y, pullback = square.forward([x])
            (bar,) = pullback(y)
        assert bar is not None
        np.testing.assert_allclose(bar, 2 * x * y[0])
        assert worker._process is not None
        return int(psutil.Process(worker._process.pid).memory_info().rss)

    before = calls(2_000)
    after = calls(8_000)
    assert worker.held() <= 1
    # What they would have kept: the argument and the result of each, 80 kB, or 640 MB.
    assert after - before < 100e6


FORK = """
import os
import numpy as np
from diffprog.interop import JuliaFunction, route
worker = route("worker")
loaded = worker.load(JuliaFunction("x -> x .+ 1"))
loaded.primal([np.ones(1)])
child = os.fork()
if child == 0:
    right = loaded.primal([np.ones(1)])[0].tolist() == [2.0]
    os._exit(7 if right else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert loaded.primal([np.ones(1)])[0].tolist() == [2.0]
print("done")
"""
"""In a process of its own: JAX, where it is loaded, warns of any fork."""


def test_a_fork_has_a_worker_of_its_own(julia: Search) -> None:
    assert julia.julia is not None
    environment = os.environ | julia.julia.environment() | {"PYTHONPATH": str(ROOT / "suite")}
    done = subprocess.run([sys.executable, "-c", FORK], env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_nothing_is_left_in_shared_memory(worker: Worker) -> None:
    call(worker, "x -> x", [1.0])
    assert worker._session is not None
    assert not any(Path(arena.path).exists() for arena in (worker._session.requests, worker._session.replies))


def test_a_worker_ends_with_its_parent(julia: Search) -> None:
    assert julia.julia is not None
    worker = Worker(julia.julia)
    call(worker, "x -> x", [1.0])
    assert worker._session is not None
    assert worker._process is not None
    worker._session.to.close()  # what the system does for a parent that is gone
    assert worker._process.wait(timeout=10) == 0
    worker.close()
