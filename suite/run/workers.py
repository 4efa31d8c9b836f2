"""Worker processes seen from the parent: started with their settings in place, and never trusted to live."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Self

from suite.measure import protocol
from suite.run import installation, processors, variables
from suite.run.variables import environment

__all__ = ["COMMAND", "Worker", "WorkerDied", "environment"]

COMMAND = installation.this().command
STARTED = "DIFFPROG_STARTED"
"""When the worker was started, s on the clock `time.perf_counter`, which is one for all processes of a machine."""
CACHES = "DIFFPROG_CACHES"
"""A folder for what is compiled in this worker; it is removed with it."""


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
        self.killed_for = ""
        self._oom_kills = _oom_kills()
        self._caches = tempfile.TemporaryDirectory(prefix="diffprog-", ignore_cleanup_errors=True)
        caches = {name: str(Path(self._caches.name) / folder) for name, folder in variables.CACHES.items()}
        self.claim = processors.claim(threads)
        try:
            with log.open("ab") as stderr, processors.bound(self.claim.processors) as bound:
                self._log_start = stderr.tell()
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=caches | env | {CACHES: self._caches.name, STARTED: repr(perf_counter())},
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
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def ask(
        self,
        request: protocol.Request,
        timeout: float,
        on_phase: Callable[[str], None] = lambda name: None,
        on_step: Callable[[protocol.Step], None] = lambda step: None,
    ) -> protocol.Reply:
        """Sends a request and waits for the answer to it. Each step of a fit has the whole timeout to itself.

        Raises:
            WorkerDied: if the worker ends first, answers nonsense, or takes more than ``timeout`` seconds.
        """
        from time import monotonic

        assert self.process.stdin is not None
        try:
            self.process.stdin.write(protocol.encode(request) + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise self._died() from None
        deadline = monotonic() + timeout
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - monotonic()))
            except queue.Empty:
                self.kill()
                raise WorkerDied("timed_out", f"no answer within {timeout:g} s; the worker was stopped") from None
            if not line:
                raise self._died()
            try:
                reply: protocol.Reply = protocol.decode_reply(line)
            except ValueError as error:
                self.kill()
                raise WorkerDied("crashed", f"the worker's answer cannot be read ({error})") from error
            if isinstance(reply, protocol.Phase):
                on_phase(reply.name)
            elif isinstance(reply, protocol.Step):
                deadline = monotonic() + timeout
                on_step(reply)
            elif isinstance(request, protocol.Open) and isinstance(reply, protocol.Ready):
                told = protocol.mismatch(request.protocol, reply.protocol)
                return protocol.Failure("error", told) if told else reply
            else:
                return reply

    def _let_go(self) -> None:
        self.claim.release()
        self._caches.cleanup()

    def strayed(self) -> str:
        """What is wrong with the processors that the worker runs on, or an empty string."""
        beyond = processors.strayed(self.process.pid, self.claim)
        if not beyond:
            return ""
        return (
            f"the worker was bound to processor {', '.join(map(str, self.claim.processors))} for --threads, and has "
            f"rebound itself to run on {', '.join(map(str, sorted(beyond)))} as well"
        )

    def _died(self) -> WorkerDied:
        code = self.process.wait()
        last = self._last_words()
        if code >= 0:
            return WorkerDied("crashed", f"the worker ended with exit code {code}{last}")
        name = signal.Signals(-code).name
        if -code == signal.SIGKILL and _oom_kills() > self._oom_kills:
            return WorkerDied("out_of_memory", "the system's out-of-memory killer ended the worker (SIGKILL)")
        return WorkerDied("crashed", f"the worker was killed by {name}{last}")

    def _last_words(self) -> str:
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            lines = [line for line in file.read()[-2000:].decode(errors="replace").splitlines() if line.strip()]
        return f"; its last words: {lines[-1].strip()}" if lines else ""

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
            self.process.wait(timeout=10)
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


def _oom_kills() -> int:
    """How often the kernel has killed for want of memory, where it says so."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
