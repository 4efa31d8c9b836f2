"""The safe way to Julia: a process of its own, with shared memory; no Julia is loaded into this one."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from suite.backends.find_julia import Julia
from suite.interop import wire
from suite.interop.errors import BridgeError
from suite.interop.route import Route
from suite.interop.shared_memory import Arena
from suite.interop.wire import Optional, Status, What, describe

_SERVE = """
using DiffProgTasks
DiffProgTasks.Bridge.serve(ARGS[1], ARGS[2]; input = parse(Int, ARGS[3]), output = parse(Int, ARGS[4]))
"""


class Worker(Route):
    """Julia in a process of its own, which starts with the first call, and again if it ends. Any thread may call.

    Arrays are copied into shared memory and out of it.

    Args:
        julia: which one, from `suite.backends.find_julia`.
        threads: of Julia and of its BLAS.
        grace: s that a call has to end after Ctrl-C, before its process is ended.
    """

    name = "worker"

    def __init__(self, julia: Julia, threads: int = 1, grace: float = 5.0) -> None:
        super().__init__()
        if os.name != "posix":
            raise BridgeError("the worker route needs a POSIX system: use route='in_process'")
        self.julia, self.threads, self.grace = julia, threads, grace
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._waiting = False
        atexit.register(self.close)

    def _environment(self) -> dict[str, str]:
        count = str(self.threads)
        own = {"JULIA_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, "OMP_NUM_THREADS": count}
        return os.environ | self.julia.environment() | own

    def _start(self) -> None:
        self.generation += 1
        self._released.clear()
        self._pid = os.getpid()
        self._requests, self._replies = Arena(), Arena()
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        command = [self.julia.executable, f"--project={self.julia.project}", "--startup-file=no", "-e", _SERVE]
        paths = [self._requests.path, self._replies.path, str(theirs_in), str(theirs_out)]
        try:
            self._process = subprocess.Popen(
                [*command, *paths],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs_in, theirs_out),
                env=self._environment(),
                start_new_session=True,  # Ctrl-C reaches this process, which then decides
            )
        except OSError as error:
            raise BridgeError(f"{self.julia.executable} does not start ({error})") from error
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._exchange(What.NOTHING, 0, (), 0)
        self._requests.unlink()
        self._replies.unlink()

    def transact(
        self, what: What, key: int = 0, arrays: Sequence[Optional] = (), number: int = 0
    ) -> tuple[int, list[Optional]]:
        with self._lock:
            if self._process is None or self._pid != os.getpid():  # a fork has no worker: it is its parent's
                if key:
                    raise BridgeError("the Julia process has ended, and with it what it kept: call the function again")
                self._start()
            arrays = [None if array is None else self.contiguous(array) for array in arrays]
            try:
                return self.settle(*self._exchange(what, key, arrays, number))
            except KeyboardInterrupt:
                self._interrupt()
                raise

    def _exchange(
        self, what: What, key: int, arrays: Sequence[Optional], number: int
    ) -> tuple[int, int, list[Optional]]:
        described: list[int] = []
        for array, start in zip(arrays, self._requests.place(arrays), strict=True):
            described += describe(array, start)
        released = self.taken()
        words = [self._requests.capacity, what, key, number, len(released), *released, len(arrays), *described]
        self._waiting = True
        self._send(struct.pack(f"={len(words) + 1}q", len(words), *words))
        reply = self._receive()
        self._waiting = False
        return self._read(reply)

    def _send(self, message: bytes) -> None:
        try:
            while message:
                message = message[os.write(self._to, message) :]
        except OSError:
            raise self._died() from None

    def _receive(self) -> tuple[int, ...]:
        """The words of the reply that comes next."""
        found = b""
        while len(found) < 8 or len(found) < 8 + 8 * struct.unpack_from("=q", found)[0]:
            part = os.read(self._from, 2**16)
            if not part:
                raise self._died()
            found += part
        count = len(found) // 8
        return struct.unpack(f"={count}q", found)[1:]

    def _read(self, reply: tuple[int, ...]) -> tuple[int, int, list[Optional]]:
        capacity, status, key, count = reply[:4]
        self._replies.follow(capacity)
        arrays: list[Optional] = []
        at = 4
        for _ in range(count):
            code = reply[at]
            if code in (0, wire.NUMBER):
                arrays.append(wire.number(reply[at + 1]) if code else None)
                at += 2 if code else 1
                continue
            dimensions = reply[at + 1]
            shape = reply[at + 2 : at + 2 + dimensions]
            start = reply[at + 2 + dimensions]
            at += 4 + dimensions
            arrays.append(self._replies.view(wire.DTYPES[code - 1], shape, start).copy())
        return status, key, arrays

    def _interrupt(self) -> None:
        """After Ctrl-C: stops the call under way, and makes sure that no later one is hit."""
        process = self._process
        if process is None or not self._waiting:
            return
        process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + self.grace
        try:
            if not select.select([self._from], [], [], self.grace)[0]:
                raise BridgeError("no answer")
            status = self._read(self._receive())[0]
            while status != Status.INTERRUPTED and time.monotonic() < deadline:  # it came too late for that call
                status = self._exchange(What.NOTHING, 0, (), 0)[0]
                time.sleep(0.005)
        except (BridgeError, KeyboardInterrupt):
            sys.stderr.write("The Julia call did not stop: its process was ended; the next call starts another.\n")
            self._end()
        self._waiting = False

    def _died(self) -> BridgeError:
        assert self._process is not None
        code = self._process.wait()
        self._end()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return BridgeError(f"the Julia process {how}; what it kept is gone, and the next call starts another")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and self._pid == os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for file in (self._to, self._from):
            with contextlib.suppress(OSError):
                os.close(file)
        self._requests.close()
        self._replies.close()
        self.generation += 1

    def close(self) -> None:
        """Ends the process. A later call starts another."""
        with self._lock:
            if self._process is not None and self._pid == os.getpid():
                self._end()
