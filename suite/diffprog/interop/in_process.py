"""The fast way to Julia: juliacall in this process. Nothing is copied, and every call is made by one thread.

Julia answers to the thread that started it: a call from another one can deadlock at its next collection of garbage. So
calls from elsewhere are handed to that thread if it is Julia's own, and refused if it is the program's main thread,
which may be waiting for that very call.
"""

from __future__ import annotations

import atexit
import ctypes
import itertools
import math
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from diffprog.backends.find_julia import Julia
from diffprog.interop import installed, wire
from diffprog.interop.errors import BridgeError
from diffprog.interop.julia_thread import JuliaThread
from diffprog.interop.loading import load
from diffprog.interop.route import Route
from diffprog.interop.wire import Optional, What
from diffprog.spec import Array

ROOM = 4096
"""Words of a request at most."""


class InProcess(Route):
    """Julia in this process; see `start`.

    A call holds Python's interpreter lock, as juliacall's do: Ctrl-C is answered when it ends. What a signal handler
    raises then loses that call's results, and no other's.
    """

    name = "in_process"

    def __init__(self, julia: Julia | None, own_thread: bool) -> None:
        super().__init__()
        self.generation = 1
        self.thread: JuliaThread | None = None
        if own_thread:
            self.thread = JuliaThread()
            self._address = self.thread.run(lambda: load(julia))
            self._owner = self.thread.ident
        else:
            self._address = load(julia)
            self._owner = threading.get_ident()
        self._pid = os.getpid()
        self._entry = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(self._address)
        self._identities = itertools.count(1)
        self._rooms: list[_Room] = []
        """Those that no call uses. A call may be within another: by a signal handler, or by Julia code that calls."""

    def transact(
        self, what: What, key: int = 0, arrays: Sequence[Optional] = (), number: int = 0
    ) -> tuple[int, list[Optional]]:
        if self._pid != os.getpid():  # of a thread that is not there, no answer would come
            raise BridgeError("Julia does not survive a fork: start processes with 'spawn', or use route='worker'")
        identity = next(self._identities)
        if what is What.FORWARD:  # what is kept for it has its identity
            self._asked[threading.get_ident()] = identity
        if threading.get_ident() == self._owner:
            return self._call(identity, what, key, arrays, number)
        if self.thread is not None:
            found: tuple[int, list[Optional]] = self.thread.run(lambda: self._call(identity, what, key, arrays, number))
            return found
        raise BridgeError(
            f"Julia runs in the main thread, and this call comes from {threading.current_thread().name}: start "
            "it with diffprog.interop.route('in_process', thread='own') before anything else does, or use "
            "route='worker'"
        )

    def _call(
        self, identity: int, what: What, key: int, arrays: Sequence[Optional], number: int
    ) -> tuple[int, list[Optional]]:
        released = self.waiting() if self._released else []
        if identity in released:  # the caller has given up already, and this comes to be kept yet
            del released[released.index(identity) :]
        words = [0, identity, what, key, number, len(released), *released, len(arrays)]
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
        room = self._rooms.pop() if self._rooms else _Room()
        _packer(count + 1)(room.request, 0, count, *words)
        for at, value in numbers:
            room.request_reals[at] = value
        try:
            failed = self._entry(room.request_at, room.reply_at)
            if failed:
                raise BridgeError(
                    "the Julia function returned more arrays than can cross at once"
                    if failed == 1
                    else "the reply of the Julia function could not be written"
                )
            if room.words[0] != identity:
                raise BridgeError(f"the reply to call {room.words[0]} came to call {identity}: it is refused")
            found = self._results(room)
        except BaseException:
            if room.words[0] == identity:  # again those that are arrays already, which does no harm
                self._released.extend(_lent_in(room.words))
            raise
        self.let_go(len(released))
        status, key = room.words[1], room.words[2]
        self._rooms.append(room)
        return self.settle(status, key, found)

    def _results(self, room: _Room) -> list[Optional]:
        words = room.words
        at = 5
        found: list[Optional] = []
        for _ in range(words[3]):
            code = words[at]
            if code == wire.NUMBER:
                found.append(np.array(room.reals[at + 1]))
                at += 2
            elif code == 0:
                found.append(None)
                at += 1
            else:
                dimensions = words[at + 1]
                at += 2 + dimensions
                shape = tuple(words[at - dimensions : at])
                found.append(self._result(room, wire.DTYPES[code - 1], shape, words[at], words[at + 1]))
                at += 2
        return found

    def _result(self, room: _Room, dtype: np.dtype[np.generic], shape: tuple[int, ...], place: int, lent: int) -> Array:
        if lent:
            owner = Lent(place, shape, dtype)
            self.watch(owner, lent)
            return np.asarray(owner)
        found: Array = np.frombuffer(room.words, dtype, math.prod(shape), place).reshape(shape)
        return found.copy()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return attach, ("main" if self.thread is None else "own",)


def _lent_in(words: Any) -> Iterator[int]:
    """The keys of the arrays that a reply has lent."""
    at = 5
    for _ in range(words[3]):
        if words[at] in (0, wire.NUMBER):
            at += 1 if words[at] == 0 else 2
            continue
        at += 4 + words[at + 1]
        if words[at - 1]:
            yield words[at - 1]


class _Room:
    """Memory for one request and its reply."""

    def __init__(self) -> None:
        self.request = ctypes.create_string_buffer(8 * ROOM)
        self.reply = ctypes.create_string_buffer(8 * (wire.HEADER + wire.INLINE))
        self.words = memoryview(self.reply).cast("B").cast("q")
        self.request_reals = memoryview(self.request).cast("B").cast("d")
        self.reals = memoryview(self.reply).cast("B").cast("d")
        self.request_at, self.reply_at = ctypes.addressof(self.request), ctypes.addressof(self.reply)


_A_NUMBER = (wire.NUMBER, 0)
"""Words of a request; the number takes the place of the second."""


@cache
def _packer(count: int) -> Callable[..., None]:
    """Writes so many words."""
    return struct.Struct(f"={count}q").pack_into


class Lent:
    """An array of Julia's, seen by NumPy where it is; Julia keeps it until this is gone."""

    __slots__ = ("__array_interface__", "__weakref__")

    def __init__(self, place: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        self.__array_interface__ = {"data": (place, False), "shape": shape, "typestr": dtype.str, "version": 3}


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
                    "diffprog.interop.route('in_process', thread='own') before, or use route='worker'"
                )
            if thread == "main" and not main:
                raise BridgeError("Julia must be started in the main thread, or with thread='own'")
            _started = InProcess(julia, own_thread=thread == "own")
            if _started.thread is not None:
                atexit.register(_started.thread.stop)
        elif thread == "own" and _started.thread is None:
            raise BridgeError(
                "Julia runs in the main thread already, where other threads cannot reach it: start it with "
                "diffprog.interop.route('in_process', thread='own') before, or use route='worker'"
            )
        return _started


def attach(thread: str = "main") -> InProcess:
    """The same with the Julia of this machine, or the one that somebody has started by juliacall.

    Raises:
        BridgeError: as `start`, or if there is no Julia, with the way to one.
    """
    return start(None if "juliacall" in sys.modules else installed.julia(), thread)
