"""The worker route after exceptions out of a call: the next call gets its own answer. By a stand-in for Julia."""

from __future__ import annotations

import gc
import os
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from diffprog.interop import BridgeError, JuliaError, JuliaFunction
from diffprog.interop.route import Loaded
from diffprog.interop.session import Phase
from diffprog.interop.worker import Worker
from tests.interop import fake_julia

PLUS = "lambda x: [x + 1000]"
SLEEPING = "lambda x: [time.sleep(float(x[0])), x + 1000][1:]"


class Alarm(Exception):
    """Raised by a signal handler, as by pytest-timeout's."""


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    found = Worker(fake_julia.julia(tmp_path_factory.mktemp("julia")))
    yield found
    found.close()


class Timer:
    """A real timer, whose handler raises ``Alarm``, or does what it is told."""

    def __init__(self) -> None:
        self.armed = False
        self.do: Callable[[], Any] | None = None

    def __call__(self, seconds: float, do: Callable[[], Any] | None = None, interval: float = 0.0) -> None:
        self.do = do
        self.armed = True
        signal.setitimer(signal.ITIMER_REAL, seconds, interval)

    def handler(self, *_: Any) -> None:
        if not self.armed:
            signal.setitimer(signal.ITIMER_REAL, 0)
        elif self.do is None:
            raise Alarm
        else:
            self.do()


@pytest.fixture
def alarm() -> Iterator[Timer]:
    timer = Timer()
    before = signal.signal(signal.SIGALRM, timer.handler)
    yield timer
    timer.armed = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def load(worker: Worker, code: str) -> Loaded:
    return worker.load(JuliaFunction(code))


def right(loaded: Loaded, x: float) -> None:
    assert loaded.primal([np.array([x])])[0].tolist() == [x + 1000]


def test_a_call_after_one_that_timed_out_gets_its_own_answer(worker: Worker, alarm: Timer) -> None:
    sleeping = load(worker, SLEEPING)
    process = worker._process
    for attempt in range(3):
        alarm(0.1)
        with pytest.raises(Alarm):
            sleeping.primal([np.array([0.2 if attempt else 60.0])])
        right(sleeping, 0.0)
    assert worker._process is process


unraisable = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""Before pytest 8.4 its own hook takes the place of any that a fixture sets."""


@pytest.fixture
def finalisers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception may hit a finaliser of another module, too, or what tells of that: nobody does."""
    monkeypatch.setattr(sys, "unraisablehook", id)


@pytest.mark.usefixtures("finalisers")
@unraisable
@pytest.mark.parametrize("storm", [False, True])
def test_exceptions_at_any_instant(worker: Worker, alarm: Timer, storm: bool) -> None:
    """Of small and large calls, loading and pullbacks; in a storm, also of what an exception is followed by."""
    rng, generator = random.Random(storm), np.random.default_rng(0)
    loaded = load(worker, PLUS)
    raised = 0
    for attempt in range(600):
        x = generator.standard_normal(rng.choice([1, 3, 1000, 200_000]))
        try:
            alarm(rng.choice([2e-5, 1e-4, 1e-3, 3e-3]) * rng.random() + 1e-6, interval=2e-4 if storm else 0.0)
            if attempt % 10 == 0:
                loaded = load(worker, PLUS)
            y, pullback = loaded.forward([x])
            (bar,) = pullback([x])
            alarm.armed = False
        except Alarm:
            alarm.armed = False
            raised += 1
        else:
            assert bar is not None
            np.testing.assert_array_equal(y[0], x + 1000)
            np.testing.assert_array_equal(bar, 2 * x)
            del y, bar, pullback
        np.testing.assert_array_equal(loaded.primal([x[:3]])[0], x[:3] + 1000)
    assert raised > 100
    gc.collect()
    assert worker.held() <= raised / 50, "pullbacks of calls that were given up"


@pytest.mark.usefixtures("finalisers")
@unraisable
def test_exceptions_while_it_starts(tmp_path: Path, alarm: Timer) -> None:
    before = psutil.Process().num_fds()
    worker = Worker(fake_julia.julia(tmp_path))
    for seconds in (1e-4, 1e-3, 3e-3, 1e-2, 3e-2):
        with pytest.raises(Alarm):
            alarm(seconds)
            while True:
                right(load(worker, PLUS), 1.0)
                worker.close()
    right(load(worker, PLUS), 2.0)
    worker.close()
    assert psutil.Process().num_fds() <= before + 6  # of pipes that Popen itself had just made


def test_more_than_1024_open_files(worker: Worker, alarm: Timer) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1500:
        pytest.skip("no more than 1,500 files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1500), hard))
    worker.close()
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1200)]
    try:
        sleeping = load(worker, SLEEPING)
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            sleeping.primal([np.array([60.0])])
        right(sleeping, 0.0)
    finally:
        worker.close()
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_signal_handler_that_calls_is_refused_and_the_call_goes_on(worker: Worker, alarm: Timer) -> None:
    sleeping = load(worker, SLEEPING)
    told: list[str] = []

    def call() -> None:
        try:
            right(sleeping, 0.0)
        except BridgeError as error:
            told.append(str(error))

    alarm(0.05, do=call)
    right(sleeping, 0.2)
    assert "another call of the same thread is under way" in told[0]
    alarm(0.05, do=lambda: right(sleeping, 0.0))  # what it raises ends the call
    with pytest.raises(BridgeError, match="under way"):
        sleeping.primal([np.array([60.0])])
    right(sleeping, 0.0)


def test_a_handler_that_closes_the_worker(worker: Worker, alarm: Timer) -> None:
    sleeping = load(worker, SLEEPING)
    alarm(0.1, do=worker.close)
    with pytest.raises(BridgeError, match="the next call starts another"):
        sleeping.primal([np.array([60.0])])
    right(sleeping, 0.0)


def test_a_second_ctrl_c_ends_what_does_not_stop(
    worker: Worker, alarm: Timer, capfd: pytest.CaptureFixture[str]
) -> None:
    deaf = load(worker, "lambda x: [__import__('signal').signal(2, 1), time.sleep(60)]")

    def press() -> None:
        raise KeyboardInterrupt

    alarm(0.1, do=press, interval=0.3)
    with pytest.raises(KeyboardInterrupt):
        deaf.primal([np.ones(1)])
    alarm.armed = False
    assert "its process was ended" in capfd.readouterr().err
    right(load(worker, PLUS), 1.0)


def test_what_does_not_stop_in_time_is_ended(worker: Worker, alarm: Timer) -> None:
    deaf = load(worker, "lambda x: [__import__('signal').signal(2, 1), time.sleep(60)]")
    quick = Worker(worker.julia, grace=0.3)
    deaf = quick.load(deaf.function)
    alarm(0.1)
    with pytest.raises(Alarm):
        deaf.primal([np.ones(1)])
    right(load(quick, PLUS), 1.0)
    quick.close()


class Unfit(np.ndarray[Any, Any]):
    """An array whose copying fails, by want of memory."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise MemoryError


def test_errors_on_this_side_leave_it_in_step(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    plus = load(worker, PLUS)

    def fail(*_: Any) -> Any:
        raise MemoryError

    for place in ("diffprog.interop.session.describe", "diffprog.interop.session.Session._read"):
        with monkeypatch.context() as patched:
            patched.setattr(place, fail)
            with pytest.raises(MemoryError):
                right(plus, 1.0)
        right(plus, 2.0)
    with pytest.raises(TypeError, match="float16"):
        plus.primal([np.ones(3, np.float16)])
    with pytest.raises(JuliaError, match="ZeroDivisionError"):
        load(worker, "lambda x: 1 / 0").primal([np.ones(1)])
    right(plus, 3.0)


def test_threads_and_a_restart_in_between(worker: Worker) -> None:
    """One that waits while the process is started again does not call what has its function's number now."""
    minus = load(worker, "lambda x: [x - 1]")
    wrong: list[Any] = []
    done = threading.Event()

    def run() -> None:
        while not done.is_set():
            try:
                found = minus.primal([np.array([5.0])])[0].tolist()
            except BridgeError as error:
                found = [4.0] if "the next call starts another" in str(error) else error
            if found != [4.0]:
                wrong.append(found)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        worker.close()
        right(load(worker, PLUS), 1.0)
        time.sleep(0.05)
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_process_that_dies_is_told_and_started_again(worker: Worker) -> None:
    plus = load(worker, PLUS)
    _, pullback = plus.forward([np.ones(1)])
    with pytest.raises(BridgeError, match="killed by SIGKILL"):
        load(worker, "lambda x: os.kill(os.getpid(), 9)").primal([np.ones(1)])
    with pytest.raises(BridgeError, match="run the forward pass again"):
        pullback([np.ones(1)])
    right(plus, 1.0)
    assert worker._session is not None
    assert worker._session.phase is Phase.IDLE
