"""The fast way to Julia: juliacall in this process. Nothing is copied, and every call is made by one thread.

Julia answers to the thread that started it: a call from another one can deadlock at its next collection of garbage. So
calls from elsewhere are handed to that thread if it is Julia's own, and refused if it is the program's main thread,
which may be waiting for that very call.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import os
import queue
import struct
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from suite.backends import find_julia
from suite.backends.find_julia import SIGNALS, Julia
from suite.interop import wire
from suite.interop.errors import BridgeError
from suite.interop.route import Route
from suite.interop.wire import Optional, What
from suite.spec import Array

ROOM = 4096
"""Words of a request at most."""
STACK = 64 * 2**20
"""Bytes of the stack of Julia's own thread."""


class InProcess(Route):
    """Julia in this process; see `start`.

    A call holds Python's interpreter lock, as juliacall's do: Ctrl-C is answered when it ends.
    """

    name = "in_process"

    def __init__(self, julia: Julia | None, own_thread: bool) -> None:
        super().__init__()
        self.generation = 1
        self.thread: JuliaThread | None = None
        if own_thread:
            self.thread = JuliaThread()
            self._address = self.thread.run(lambda: _load(julia))
            self._owner = self.thread.ident
        else:
            self._address = _load(julia)
            self._owner = threading.get_ident()
        self._pid = os.getpid()
        self._entry = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(self._address)
        self._request = ctypes.create_string_buffer(8 * ROOM)
        self._reply = ctypes.create_string_buffer(8 * (wire.HEADER + wire.INLINE))
        self._words = memoryview(self._reply).cast("B").cast("q")
        self._request_reals = memoryview(self._request).cast("B").cast("d")
        self._reals = memoryview(self._reply).cast("B").cast("d")
        self._request_at, self._reply_at = ctypes.addressof(self._request), ctypes.addressof(self._reply)

    def transact(
        self, what: What, key: int = 0, arrays: Sequence[Optional] = (), number: int = 0
    ) -> tuple[int, list[Optional]]:
        if threading.get_ident() == self._owner:
            return self._call(what, key, arrays, number)
        if self.thread is not None:
            found: tuple[int, list[Optional]] = self.thread.run(lambda: self._call(what, key, arrays, number))
            return found
        raise BridgeError(
            f"Julia runs in the main thread, and this call comes from {threading.current_thread().name}: start "
            "it with suite.interop.route('in_process', thread='own') before anything else does, or use route='worker'"
        )

    def _call(self, what: What, key: int, arrays: Sequence[Optional], number: int) -> tuple[int, list[Optional]]:
        if self._pid != os.getpid():
            raise BridgeError("Julia does not survive a fork: start processes with 'spawn', or use route='worker'")
        released = self.taken() if self._released else ()
        words = [0, what, key, number, len(released), *released, len(arrays)]
        numbers: list[tuple[int, float]] = []
        held = []  # copies that are needed until the call ends
        for array in arrays:
            if array is None:
                words.append(0)
            elif not array.ndim and array.dtype is wire.FLOAT64:
                words += _A_NUMBER
                numbers.append((len(words), array.item()))
            else:
                array = self.contiguous(array)
                held.append(array)
                words += wire.describe(array, array.__array_interface__["data"][0])
        count = len(words)
        if count >= ROOM:
            raise BridgeError(f"a call has {len(arrays)} arrays, which is more than can cross at once")
        _packer(count + 1)(self._request, 0, count, *words)
        for at, value in numbers:
            self._request_reals[at] = value
        if self._entry(self._request_at, self._reply_at):
            raise BridgeError("the Julia function returned more arrays than can cross at once")
        return self.settle(self._words[1], self._words[2], self._results())

    def _results(self) -> list[Optional]:
        words = self._words
        at = 4
        found: list[Optional] = []
        for _ in range(words[3]):
            code = words[at]
            if code == wire.NUMBER:
                found.append(np.array(self._reals[at + 1]))
                at += 2
            elif code == 0:
                found.append(None)
                at += 1
            else:
                dimensions = words[at + 1]
                at += 2 + dimensions
                shape = tuple(words[at - dimensions : at])
                found.append(self._result(wire.DTYPES[code - 1], shape, words[at], words[at + 1]))
                at += 2
        return found

    def _result(self, dtype: np.dtype[np.generic], shape: tuple[int, ...], place: int, lent: int) -> Array:
        if lent:
            return np.asarray(Lent(self._released, lent, place, shape, dtype))
        found: Array = np.frombuffer(self._words, dtype, math.prod(shape), place).reshape(shape)
        return found.copy()


_A_NUMBER = (wire.NUMBER, 0)
"""Words of a request; the number takes the place of the second."""


@cache
def _packer(count: int) -> Callable[..., None]:
    """Writes so many words."""
    return struct.Struct(f"={count}q").pack_into


class Lent:
    """An array of Julia's, seen by NumPy where it is; Julia keeps it until this is gone."""

    __slots__ = ("__array_interface__", "_key", "_released")

    def __init__(
        self, released: deque[int], key: int, place: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]
    ) -> None:
        self._released, self._key = released, key
        self.__array_interface__ = {"data": (place, False), "shape": shape, "typestr": dtype.str, "version": 3}

    def __del__(self) -> None:
        self._released.append(self._key)


_Answer = tuple[Any, BaseException | None]


class JuliaThread:
    """A thread that starts Julia, makes all calls to it, and ends it."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[_Answer]] | None] = queue.SimpleQueue()
        self._hooks: list[Callable[[], Any]] = []
        before = threading.stack_size(STACK)
        self._thread = threading.Thread(target=self._serve, name="julia", daemon=True)
        self._thread.start()
        threading.stack_size(before)
        assert self._thread.ident is not None
        self.ident = self._thread.ident

    def _serve(self) -> None:
        while (item := self._work.get()) is not None:
            call, answer = item
            try:
                with _collected_exit_hooks(self._hooks):
                    answer.put((call(), None))
            except BaseException as error:
                answer.put((None, error))
            del item, call, answer
        for hook in self._hooks:
            hook()

    def run(self, call: Callable[[], Any]) -> Any:
        """The result of ``call``, made in this thread. After Ctrl-C its result is dropped when it comes."""
        # Half the time of a concurrent.futures.Future, which could do more than is asked for here.
        answer: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        self._work.put((call, answer))
        result, error = answer.get()
        if error is not None:
            raise error
        return result

    def stop(self) -> None:
        """Ends Julia, in the thread that it answers to."""
        self._work.put(None)
        self._thread.join(timeout=10)


@contextmanager
def _collected_exit_hooks(hooks: list[Callable[[], Any]]) -> Iterator[None]:
    """While juliacall starts: what it wants done at exit is for this thread to do, not for the main thread."""
    if "juliacall" in sys.modules:
        yield
        return
    register = atexit.register

    def collect(hook: Callable[[], Any]) -> Callable[[], Any]:
        hooks.append(hook)
        return hook

    atexit.register = collect  # type: ignore[assignment]
    try:
        yield
    finally:
        atexit.register = register


def _load(julia: Julia | None) -> int:
    """Starts Julia by juliacall unless it runs already; returns the address of the bridge's entry."""
    before = dict(os.environ)
    if julia is not None:
        os.environ.update(julia.environment())
        if before.get(SIGNALS) == "yes":
            os.environ[SIGNALS] = "yes"
        else:
            os.environ["PYTHON_JULIACALL_THREADS"] = "1"
    try:
        with warnings.catch_warnings():
            # juliacall warns of torch's being imported first; docs/interop.md says what was found of that.
            warnings.filterwarnings("ignore", message="torch was imported before juliacall")
            from juliacall import CONFIG, Main
    except ImportError as error:
        raise BridgeError(f"juliacall cannot be imported ({error}): python -m pip install juliacall") from error
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
    threads = int(Main.seval("Threads.nthreads(:default) + Threads.nthreads(:interactive)"))
    if threads > 1 and CONFIG["opt_handle_signals"] != "yes":
        raise BridgeError(
            f"Julia was started with {threads} threads and without its signal handlers: at the next collection of "
            f"garbage the process would end by a segmentation fault. Before juliacall is imported, set {SIGNALS}=yes "
            "or one thread, or use route='worker'"
        )
    folder = str(find_julia.package_folder())
    Main.seval(f'raw"{folder}" in LOAD_PATH || insert!(LOAD_PATH, min(2, length(LOAD_PATH) + 1), raw"{folder}")')
    Main.seval("import DiffProgTasks")
    return int(Main.DiffProgTasks.Bridge.entry_address())


_started: InProcess | None = None
_lock = threading.Lock()


def start(julia: Julia | None, thread: str = "main") -> InProcess:
    """Julia in this process, started if it is not there yet.

    Args:
        julia: which one; None where juliacall is imported already.
        thread: "main": Julia answers to this thread, which must be the main one; calls cost least. "own": to a thread
            of its own, so that calls may come from any, at some microseconds each.

    Raises:
        BridgeError: if Julia runs in another way already, or cannot be started.
    """
    global _started
    with _lock:
        if _started is None:
            there = "juliacall" in sys.modules
            main = threading.current_thread() is threading.main_thread()
            if there and thread == "own":
                raise BridgeError(
                    "juliacall was imported already, and Julia answers to the thread that did it: start it with "
                    "suite.interop.route('in_process', thread='own') before, or use route='worker'"
                )
            if thread == "main" and not main:
                raise BridgeError("Julia must be started in the main thread, or with thread='own'")
            _started = InProcess(julia, own_thread=thread == "own")
            if _started.thread is not None:
                atexit.register(_started.thread.stop)
        elif thread == "own" and _started.thread is None:
            raise BridgeError(
                "Julia runs in the main thread already, where other threads cannot reach it: start it with "
                "suite.interop.route('in_process', thread='own') before, or use route='worker'"
            )
        return _started
