"""The fast way to Julia: juliacall in this process. Nothing is copied, and every call is made by one thread.

Julia answers to the thread that started it: a call from another one can deadlock at its next collection of garbage. So
calls from elsewhere are handed to that thread if it is Julia's own, and refused if it is the program's main thread,
which may be waiting for that very call.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import queue
import struct
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import numpy as np

from suite.backends import find_julia
from suite.backends.find_julia import Julia
from suite.interop import wire
from suite.interop.errors import BridgeError
from suite.interop.route import Optional, Route, describe
from suite.interop.wire import What
from suite.spec import Array

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
        self._request = ctypes.create_string_buffer(8 * 4096)
        self._reply = ctypes.create_string_buffer(8 * (wire.HEADER + wire.INLINE))
        self._words = memoryview(self._reply).cast("B").cast("q")
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
        # A number has no memory in Julia that could be shared: it is read where it is.
        arrays = [None if array is None else self.contiguous(array) for array in arrays]
        words = [0, what, key, number]
        released = self.taken() if self._released else []
        words.append(len(released))
        words += released
        words.append(len(arrays))
        for array in arrays:
            words += describe(array, 0 if array is None else array.__array_interface__["data"][0])
        count = len(words)
        if count >= 4096:
            raise BridgeError(f"a call has {len(arrays)} arrays, which is more than can cross at once")
        struct.pack_into(f"={count + 1}q", self._request, 0, count, *words)
        if self._entry(self._request_at, self._reply_at):
            raise BridgeError("the Julia function returned more arrays than can cross at once")
        status, key = self._words[1], self._words[2]
        return self.settle(status, key, self._results())

    def _results(self) -> list[Optional]:
        words = self._words
        at, found = 4, []
        for _ in range(words[3]):
            code, dimensions = words[at], words[at + 1]
            at += 2
            shape = tuple(words[at : at + dimensions])
            at += dimensions
            found.append(self._result(code, shape, words[at], words[at + 1]))
            at += 2
        return found

    def _result(self, code: int, shape: tuple[int, ...], place: int, lent: int) -> Optional:
        if code == 0:
            return None
        dtype = wire.DTYPES[code - 1]
        if lent:
            return np.asarray(Lent(self._released, lent, place, shape, dtype))
        count = 1
        for extent in shape:
            count *= extent
        found: Array = np.frombuffer(self._words, dtype, count, place).reshape(shape)
        return found.copy()


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


class JuliaThread:
    """A thread that starts Julia, makes all calls to it, and ends it."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._hooks: list[Callable[[], Any]] = []
        before = threading.stack_size(STACK)
        self._thread = threading.Thread(target=self._serve, name="julia", daemon=True)
        self._thread.start()
        threading.stack_size(before)
        assert self._thread.ident is not None
        self.ident = self._thread.ident

    def _serve(self) -> None:
        while (item := self._work.get()) is not None:
            call, future = item
            try:
                with _collected_exit_hooks(self._hooks):
                    future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
            del item, call, future
        for hook in self._hooks:
            hook()

    def run(self, call: Callable[[], Any]) -> Any:
        """The result of ``call``, made in this thread. After Ctrl-C its result is dropped when it comes."""
        future: Future[Any] = Future()
        self._work.put((call, future))
        return future.result()

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
    try:
        with warnings.catch_warnings():
            # juliacall warns of torch's being imported first; docs/interop.md says what was found of that.
            warnings.filterwarnings("ignore", message="torch was imported before juliacall")
            from juliacall import Main
    except ImportError as error:
        raise BridgeError(f"juliacall cannot be imported ({error}): python -m pip install juliacall") from error
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
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
