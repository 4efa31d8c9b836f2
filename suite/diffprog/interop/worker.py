"""The safe way to Julia: a process of its own, with shared memory; no Julia is loaded into this one."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from diffprog.backends.find_julia import Julia
from diffprog.interop import installed
from diffprog.interop.errors import BridgeError, Gone
from diffprog.interop.route import Route
from diffprog.interop.session import Phase, Session
from diffprog.interop.wire import Optional, What

_SERVE = """
using DiffProgTasks
DiffProgTasks.Bridge.serve(ARGS[1], ARGS[2]; input = parse(Int, ARGS[3]), output = parse(Int, ARGS[4]))
"""
_KEYS = 2**40
"""Requests to one Julia process at most. Identities are keys: those of the next process are others."""


class Worker(Route):
    """Julia in a process of its own, which starts with the first call, and again if it ends. Any thread may call.

    Arrays are copied into shared memory and out of it. Whatever exception comes out of a call, one of a signal handler
    among them, the call is stopped, and the next one gets its own answer. A fork starts a process of its own. A copy is
    the worker itself; pickled, it is one with the same settings in the process that it comes to.

    Args:
        julia: which one, from `diffprog.backends.find_julia`.
        threads: of Julia and of its BLAS.
        grace: s that a call has to end after Ctrl-C or another exception, before its process is ended.
    """

    name = "worker"

    def __init__(self, julia: Julia, threads: int = 1, grace: float = 5.0) -> None:
        super().__init__()
        if os.name != "posix":
            raise BridgeError("the worker route needs a POSIX system: use route='in_process'")
        self.julia, self.threads, self.grace = julia, threads, grace
        self._lock = threading.RLock()
        self._busy = False
        self._session: Session | None = None
        _workers.add(self)
        atexit.register(self.close)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if _shared is self:  # there, too, the one that all who ask for it share
            return shared, ()
        return _like, (self.julia, self.threads, self.grace)

    @property
    def _process(self) -> subprocess.Popen[bytes] | None:
        return None if self._session is None else self._session.process

    def _environment(self) -> dict[str, str]:
        count = str(self.threads)
        own = {"JULIA_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, "OMP_NUM_THREADS": count}
        return os.environ | self.julia.environment() | own

    def transact(
        self, what: What, key: int = 0, arrays: Sequence[Optional] = (), number: int = 0
    ) -> tuple[int, list[Optional]]:
        with self._lock:
            if self._busy:
                raise BridgeError(
                    "a Julia call was made while another call of the same thread is under way, by a signal handler or "
                    "a finaliser: this worker answers one at a time"
                )
            self._busy = True
            try:
                return self._transact(what, key, arrays, number)
            except BaseException:
                self._recover()
                raise
            finally:
                self._busy = False

    def _transact(self, what: What, key: int, arrays: Sequence[Optional], number: int) -> tuple[int, list[Optional]]:
        session = self._ready(key)
        arrays = [None if array is None else self.contiguous(array) for array in arrays]
        if session.unclaimed:
            session.abandoned.append(session.unclaimed)
            session.unclaimed = 0
        self._released.extend(session.abandoned)
        session.abandoned.clear()
        released = self.waiting()
        status, key, found = session.exchange(what, key, arrays, number, released)
        self.let_go(len(released))
        if what is What.FORWARD:
            self._asked[threading.get_ident()] = session.unclaimed
        session.unclaimed = 0
        return self.settle(status, key, found)

    def _ready(self, key: int) -> Session:
        """A session that is in step, started if there is none."""
        if self._session is not None and self._session.owner != os.getpid():  # forked without Python's knowledge
            self._forget()
        self._recover()  # what an exception out of the recovery after a call has left
        if self._session is None:
            if key:
                raise Gone("the Julia process has ended, and with it what it kept: call the function again")
            self.generation += 1
            self._released.clear()
            self._watched.clear()
            self._session = Session(self.generation * _KEYS)
            command = [self.julia.executable, f"--project={self.julia.project}", "--startup-file=no", "-e", _SERVE]
            self._session.start(command, self._environment())
        return self._session

    def _recover(self) -> None:
        """After an exception out of a call: stops the call, or ends its process. No later one gets its answer."""
        session = self._session
        if session is None or session.phase is Phase.IDLE:
            return
        stopped = False
        try:
            stopped = session.interrupt(self.grace)
        except BridgeError:
            pass
        except KeyboardInterrupt:
            self._tell_and_end()
            raise
        if not stopped:
            self._tell_and_end()

    def _tell_and_end(self) -> None:
        session = self._session
        if session is not None and session.phase in (Phase.ASKED, Phase.TORN):
            sys.stderr.write("The Julia call did not stop: its process was ended; the next call starts another.\n")
        self._end()

    def _end(self) -> None:
        if self._session is not None:
            self._session.end()
            self._session = None
            self.generation += 1

    def abort(self) -> None:
        """Ends the process at once, from any thread. A call under way fails with a BridgeError; a later one starts
        another process, without the pullbacks that this one kept.
        """
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Ends the process. A later call starts another."""
        with self._lock:
            self._end()

    def _forget(self) -> None:
        """In a fork: the process is the parent's, and so is a lock that another thread of it may hold."""
        self._lock, self._busy = threading.RLock(), False
        session, self._session = self._session, None
        self.generation += 1
        if session is not None:
            session.leave(unlink=False)


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()
_shared: Worker | None = None


def shared() -> Worker:
    """The worker that all who do not make their own share, with the Julia of this machine.

    Raises:
        BridgeError: if there is no Julia, with the way to one.
    """
    global _shared
    if _shared is None:
        _shared = Worker(installed.julia())
    return _shared


def _like(julia: Julia, threads: int, grace: float) -> Worker:
    """The worker of this process with these settings."""
    for worker in list(_workers):
        if (worker.julia, worker.threads, worker.grace) == (julia, threads, grace):
            return worker
    return Worker(julia, threads, grace)


def _forget_all() -> None:
    for worker in list(_workers):
        worker._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
