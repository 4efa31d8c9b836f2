"""Calls in this process, after exceptions and within each other. A Python function stands for Julia's entry."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from diffprog.interop import BridgeError, JuliaFunction, in_process
from diffprog.interop.in_process import InProcess
from diffprog.interop.wire import DTYPES, NUMBER, What

_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(ctypes.c_int64))


class Entry:
    """Answers x ↦ (x + 1000, Σ x) of arrays of float64; as `entry` of bridge/wire.jl does, but for its Julia."""

    def __init__(self) -> None:
        self.kept: set[int] = set()
        self.lent: dict[int, Any] = {}
        self.before: Callable[[], Any] = lambda: None
        self.identity: Callable[[int], int] = lambda identity: identity
        self._function = _ENTRY(self)
        self.address = ctypes.cast(self._function, ctypes.c_void_p).value

    def __call__(self, request: Any, reply: Any) -> int:
        words = request[1 : 1 + request[0]]
        _, identity, what, _, _, releases = words[:6]
        for released in words[6 : 6 + releases]:
            self.kept.discard(released)
            self.lent.pop(released, None)
        at = 7 + releases
        if what == What.NOTHING:
            reply[0:5] = [identity, 0, len(self.kept) + len(self.lent), 0, 0]
            return 0
        if what == What.LOAD:
            reply[0:5] = [identity, 0, identity, 0, 0]
            return 0
        dimensions, place = words[at + 1], words[at + 2 + words[at + 1]]
        assert DTYPES[words[at] - 1] == np.float64
        shape = words[at + 2 : at + 2 + dimensions]
        x = np.ctypeslib.as_array(ctypes.cast(place, ctypes.POINTER(ctypes.c_double)), shape).copy()
        self.before()
        if what == What.FORWARD:
            self.kept.add(identity)
        y = x + 1000 if what != What.PULLBACK else 2 * x
        number = -len(self.lent) - 1 - identity * 10
        self.lent[number] = y
        bits = struct.unpack("=q", struct.pack("=d", x.sum()))[0]
        described = [1, y.ndim, *y.shape, y.ctypes.data, number]
        described += [NUMBER, bits] if what != What.PULLBACK else []
        count = 2 if what != What.PULLBACK else 1
        reply[0:5] = [self.identity(identity), 0, identity if what == What.FORWARD else 0, count, len(described)]
        for k, word in enumerate(described):
            reply[5 + k] = word
        return 0


class Memory:
    """ctypes pointers take no slices in assignments."""

    def __init__(self, pointer: Any) -> None:
        self.pointer = pointer

    def __getitem__(self, key: Any) -> Any:
        return self.pointer[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, slice):
            for k, one in zip(range(key.start, key.stop), value, strict=True):
                self.pointer[k] = one
        else:
            self.pointer[key] = value


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> Entry:
    found = Entry()
    answer = found.__call__
    found._function = _ENTRY(lambda request, reply: answer(Memory(request), Memory(reply)))
    found.address = ctypes.cast(found._function, ctypes.c_void_p).value
    monkeypatch.setattr(in_process, "load", lambda julia: found.address)
    return found


@pytest.fixture(params=[False, True], ids=["main thread", "own thread"])
def route(entry: Entry, request: pytest.FixtureRequest) -> Iterator[InProcess]:
    found = InProcess(None, request.param)
    yield found
    if found.thread is not None:
        found.thread.stop()


class Alarm(Exception):
    pass


@pytest.fixture
def alarm() -> Iterator[None]:
    def handler(_: int, frame: Any) -> None:
        while frame is not None:  # within Julia no handler of Python's runs
            if frame.f_code.co_qualname.startswith(("Entry.", "Memory.", "entry.")):
                signal.setitimer(signal.ITIMER_REAL, 1e-5)
                return
            frame = frame.f_back
        raise Alarm

    before = signal.signal(signal.SIGALRM, handler)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
def test_exceptions_at_any_instant_lose_that_call_alone(route: InProcess) -> None:
    loaded = route.load(JuliaFunction("x -> (x .+ 1000, sum(x))"))
    rng = np.random.default_rng(0)
    raised = 0
    for _ in range(500):
        x = rng.standard_normal(int(rng.integers(1, 5)))
        found: Any = None
        try:
            signal.setitimer(signal.ITIMER_REAL, float(rng.random()) * 3e-4 + 1e-6)
            found = loaded.forward([x])
            signal.setitimer(signal.ITIMER_REAL, 0)
        except Alarm:
            raised += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        if found is not None:
            np.testing.assert_array_equal(found[0][0], x + 1000)
            assert found[0][1] == x.sum()
        y, total = loaded.primal([x])
        np.testing.assert_array_equal(y, x + 1000)
        assert total == x.sum()
    assert raised > 50
    del found, y
    time.sleep(0.01)
    assert route.held() <= raised / 20, "what calls that were given up had kept or been lent"


def test_a_call_within_a_call_has_memory_of_its_own(entry: Entry) -> None:
    """By a signal handler, or by Julia code that calls Python."""
    route = InProcess(None, False)
    loaded = route.load(JuliaFunction("x -> (x .+ 1000, sum(x))"))
    seen: list[Any] = []

    def within() -> None:
        entry.before = lambda: None
        seen.append(loaded.primal([np.array([5.0, 6.0])]))

    entry.before = within
    y, total = loaded.primal([np.array([1.0])])
    assert (y.tolist(), float(total)) == ([1001.0], 1.0)
    assert (seen[0][0].tolist(), float(seen[0][1])) == ([1005.0, 1006.0], 11.0)
    before = signal.signal(signal.SIGALRM, lambda *_: within())
    try:
        entry.before = lambda: os.kill(os.getpid(), signal.SIGALRM)  # its handler runs before the reply is read
        y, total = loaded.primal([np.array([2.0])])
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (y.tolist(), float(total)) == ([1002.0], 2.0)
    assert len(seen) == 2


def test_the_reply_to_another_request_is_refused(entry: Entry) -> None:
    route = InProcess(None, False)
    loaded = route.load(JuliaFunction("x -> (x .+ 1000, sum(x))"))
    entry.identity = lambda identity: identity - 1
    with pytest.raises(BridgeError, match="it is refused"):
        loaded.primal([np.ones(1)])
    entry.identity = lambda identity: identity
    assert loaded.primal([np.ones(1)])[0].tolist() == [1001.0]


def test_a_fork_is_refused_and_does_not_wait(route: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = route.load(JuliaFunction("x -> (x .+ 1000, sum(x))"))
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(BridgeError, match="does not survive a fork"):
        loaded.primal([np.ones(1)])


def test_another_thread(route: InProcess) -> None:
    loaded = route.load(JuliaFunction("x -> (x .+ 1000, sum(x))"))
    told: list[Any] = []

    def run() -> None:
        try:
            told.append(loaded.primal([np.ones(1)])[0].tolist())
        except BridgeError as error:
            told.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert told[0] == [1001.0] if route.thread is not None else "route='worker'" in told[0]


def test_pickled_it_is_the_one_of_the_process(route: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("diffprog.interop.installed.julia", lambda: None)
    monkeypatch.setattr(in_process, "start", lambda julia, thread: asked.append(thread))
    pickle.loads(pickle.dumps(route))
    assert asked == ["main" if route.thread is None else "own"]
