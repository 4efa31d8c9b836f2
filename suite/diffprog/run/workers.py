"""Worker processes seen from the parent: started with their settings in place, and never trusted to live."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, perf_counter
from types import TracebackType
from typing import Self

import msgspec

from diffprog.records import protocol
from diffprog.run import answers, installation, processors, variables
from diffprog.run.caches import Caches
from diffprog.run.variables import environment

__all__ = ["COMMAND", "Worker", "WorkerDied", "environment"]

COMMAND = installation.this().command
STARTED = "DIFFPROG_STARTED"
"""When the worker was started, s on the clock `time.perf_counter`, which is one for all processes of a machine."""
CACHES = "DIFFPROG_CACHES"
"""A folder for what is compiled in this worker; it is removed with it."""

_AHEAD = 1000
"""Lines that a worker may be ahead of its parent."""
_PATIENCE = 10.0
"""Seconds that a worker has to end in."""


class WorkerDied(Exception):
    """The worker ended, or was ended, before it answered. ``outcome`` is what its cell comes to."""

    def __init__(self, outcome: str, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


class Worker:
    """One worker process. Use as a context manager: it does not outlive the block.

    Args:
        env: its whole environment, but for the caches of compiled code: where ``env`` names none, they are new and
            empty.
        log: the file that takes its standard error.
        threads: on Linux the process is bound to this many processors, so that no framework can use more.
        command: what to start; tests start workers that fail.
    """

    def __init__(self, env: dict[str, str], log: Path, threads: int, command: Sequence[str] = COMMAND) -> None:
        self.log = log
        self._started = monotonic()
        self._operator = self._device = ""
        self._oom_kills = _oom_kills()
        try:
            self._caches = Caches()
        except OSError as error:
            raise WorkerDied("error", f"the worker cannot be started ({error})") from error
        caches = {name: str(self._caches.path / folder) for name, folder in variables.CACHES.items()}
        self.claim = processors.claim(threads)
        self._gone = False
        try:
            with log.open("ab") as stderr, processors.bound(self.claim.processors) as bound:
                self._log_start = stderr.tell()
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=caches | env | {CACHES: str(self._caches.path), STARTED: repr(perf_counter())},
                    start_new_session=True,  # Ctrl-C reaches the parent, which then decides
                )
            if not bound:
                self.claim.release()
                self.claim = processors.Claim()
        except OSError as error:
            self._let_go()
            raise WorkerDied("error", f"the worker cannot be started ({error})") from error
        except BaseException:
            self._let_go()
            raise
        self._lines: queue.Queue[bytes] = queue.Queue(_AHEAD)
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        line = b"-"
        with contextlib.suppress(OSError, ValueError):
            while line and len(line) <= answers.LONGEST:
                line = self.process.stdout.readline(answers.LONGEST + 1)
                self._put(line)
        self._put(b"")

    def _put(self, line: bytes) -> None:
        """Hands a line over; a worker that says more than is asked has to wait."""
        while not self._closing.is_set():
            with contextlib.suppress(queue.Full):
                self._lines.put(line, timeout=0.1)
                return

    def ask(
        self,
        request: protocol.Request,
        timeout: float,
        on_phase: Callable[[str], None] = lambda name: None,
        on_step: Callable[[protocol.Step], None] = lambda step: None,
    ) -> protocol.Reply:
        """Sends a request and waits for the answer to it. Each step of a fit has the whole timeout to itself.

        Raises:
            WorkerDied: if the worker ends first, answers what can be no answer, or takes more than ``timeout`` seconds.
        """
        assert self.process.stdin is not None
        if isinstance(request, protocol.Open):
            self._device = request.device
        if isinstance(request, protocol.Prepare):
            self._operator = request.operator
        asked = self._started if isinstance(request, protocol.Open) else monotonic()
        if not self._lines.empty() and (line := self._lines.get()):
            raise self._refused("crashed", f"the worker spoke before it was asked: {answers.clean(_text(line))[:200]}")
        try:
            self.process.stdin.write(protocol.encode(request) + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise self._died() from None
        deadline, last = monotonic() + timeout, -1
        while True:
            left = deadline - monotonic()
            try:
                if left <= 0:  # one that always has something to say is not waited for either
                    raise queue.Empty
                line = self._lines.get(timeout=left)
            except queue.Empty:
                raise self._refused("timed_out", f"no answer within {timeout:g} s; the worker was stopped") from None
            reply, now = self._decoded(line), monotonic()
            told = answers.wrong(request, reply, now - asked, self._operator, self._device, now - self._started)
            if isinstance(reply, protocol.Step) and not told:
                told = "" if reply.step > last else f"step {reply.step} after step {last}"
                last = reply.step
            if told:
                raise self._refused("error", f"the worker's answer is not to be believed: {answers.clean(told)}")
            if isinstance(reply, protocol.Phase):
                on_phase(answers.clean(reply.name)[:80])
            elif isinstance(reply, protocol.Step):
                deadline = monotonic() + timeout
                on_step(reply)
            elif isinstance(reply, protocol.Failure):
                return protocol.Failure(reply.outcome, answers.clean(reply.reason), answers.clean(reply.mend))
            elif isinstance(request, protocol.Open) and isinstance(reply, protocol.Ready):
                told = protocol.mismatch(request.protocol, reply.protocol)
                return protocol.Failure("error", told) if told else reply
            else:
                return reply

    def _decoded(self, line: bytes) -> protocol.Reply:
        if not line:
            raise self._died()
        if len(line) > answers.LONGEST:
            raise self._refused("crashed", f"the worker's answer is longer than {answers.LONGEST} bytes")
        try:
            reply: protocol.Reply = protocol.decode_reply(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self._refused("crashed", f"the worker's answer cannot be read ({error})") from error
        return reply

    def _refused(self, outcome: str, reason: str) -> WorkerDied:
        """Ends the worker: what it says next could be taken for the answer to another question."""
        self.kill()
        return WorkerDied(outcome, reason)

    def _let_go(self) -> None:
        if not self._gone:
            self._gone = True
            self.claim.release()
            self._caches.remove()

    def strayed(self) -> str:
        """What is wrong with the processors that the worker runs on, or an empty string."""
        if self._device != "cpu":  # a driver's threads may go where the device is near
            return ""
        beyond = processors.strayed(self.process.pid, self.claim)
        if not beyond:
            return ""
        return (
            f"the worker was bound to processor {', '.join(map(str, self.claim.processors))} for --threads, and has "
            f"rebound itself to run on {', '.join(map(str, sorted(beyond)))} as well"
        )

    def _died(self) -> WorkerDied:
        try:
            code = self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            return self._refused("crashed", f"the worker closed its output and lived on{self._last_words()}")
        last = self._last_words()
        if code >= 0:
            return WorkerDied("crashed", f"the worker ended with exit code {code}{last}")
        name = signal.Signals(-code).name
        if -code == signal.SIGKILL and _oom_kills() > self._oom_kills:
            return WorkerDied("out_of_memory", "the system's out-of-memory killer ended the worker (SIGKILL)")
        return WorkerDied("crashed", f"the worker was killed by {name}{last}")

    def _last_words(self) -> str:
        with self.log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, end - 2000))  # it may be of any length
            lines = [line for line in file.read(2000).decode(errors="replace").splitlines() if line.strip()]
        return f"; its last words: {answers.clean(lines[-1].strip())}" if lines else ""

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """Ends the process and whatever it started."""
        try:
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        except ProcessLookupError:
            pass
        self.process.wait()
        self._closing.set()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # what was still to be written has no reader any more
                pipe.close()
        self._let_go()

    def close(self) -> None:
        """Asks the process to end, and ends it if it does not."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
            self.process.wait(timeout=_PATIENCE)
        except (OSError, subprocess.TimeoutExpired):
            pass
        self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.kill()


def _text(line: bytes) -> str:
    return line.decode(errors="replace").strip()


def _oom_kills() -> int:
    """How often the kernel has killed for want of memory, where it says so."""
    try:
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
