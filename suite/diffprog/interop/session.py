"""One Julia process of the worker route: starting it, asking it, stopping a call under way, ending it.

An exception may come out of any line here: Python runs signal handlers between any two of its instructions, and they
may raise. So what is on its way is told by ``phase`` alone, which is set before the deed and after it, and messages
survive the loss of any of them. A request carries an identity, which its reply repeats: a reply to another request is
passed over. A reply in the pipe is a *bell* of a few words, written and read as a whole; what it announces lies in
shared memory, and is read once the bell is the right one. Signals sent to the process are counted until it is seen to
have answered to them, so that none hits a later call.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from enum import Enum, auto

from diffprog.interop import wire
from diffprog.interop.errors import BridgeError
from diffprog.interop.shared_memory import Arena
from diffprog.interop.wire import BELL, Bell, Optional, Status, What, describe

Reply = tuple[int, int, list[Optional]]
"""Status, key, arrays."""
_AGAIN = 0.1
"""Seconds after which SIGINT is sent again, if nothing under way is seen to have been interrupted by it."""
_NO_ARRAYS = (0, 0)
"""Words of a request that releases nothing and has no arrays."""


class Phase(Enum):
    """Where a session stands."""

    STARTING = auto()
    IDLE = auto()
    """In step: nothing is under way."""
    ASKED = auto()
    """A request may be under way, or its reply unread."""
    TORN = auto()
    """A request may have been sent in part: nothing can follow it."""
    ENDED = auto()


class Session:
    """A process and what it shares with this one. Used by one thread at a time.

    Args:
        first: identities are counted from here. They are the keys of what is kept, too: those of one process must be
            no other's.
    """

    def __init__(self, first: int) -> None:
        self.phase = Phase.STARTING
        self.owner = os.getpid()
        self.process: subprocess.Popen[bytes] | None = None
        self.abandoned: list[int] = []
        """Keys that nobody has, though something may be kept under them."""
        self.unclaimed = 0
        """The identity of the last request that Julia keeps something for; 0 once the caller has it."""
        self._identity = first
        self._signals = 0
        """How often it was sent SIGINT since it was last seen to answer to one."""
        self._stragglers = 0
        """How many signals may still be on their way beside those."""
        self._known = ["", ""]
        """The paths of the memory of requests and replies that the other side has open."""
        self._pipes: list[io.FileIO] = []
        self._arenas: list[Arena] = []

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts the process, and waits until it answers.

        Raises:
            BridgeError: if it does not start, or there is no memory to share.
        """
        for _ in range(2):
            self._arenas.append(Arena())
        self.requests, self.replies = self._arenas
        self._known = [self.requests.path, self.replies.path]
        theirs_in, self.to = self._pipe()
        self.back, theirs_out = self._pipe()
        theirs = (theirs_in.fileno(), theirs_out.fileno())
        paths = [self.requests.path, self.replies.path, *map(str, theirs)]
        try:
            self.process = subprocess.Popen(
                [*command, *paths],
                stdin=subprocess.DEVNULL,
                pass_fds=theirs,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches this process, which then decides
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise BridgeError(f"{command[0]} does not start ({error})") from error
        theirs_in.close()
        theirs_out.close()
        self.exchange(What.NOTHING, 0, (), 0, ())
        self.requests.unlink()
        self.replies.unlink()

    def _pipe(self) -> tuple[io.FileIO, io.FileIO]:
        reading, writing = os.pipe()
        ends = io.FileIO(reading, "rb"), io.FileIO(writing, "wb")
        self._pipes += ends
        return ends

    def exchange(self, what: What, key: int, arrays: Sequence[Optional], number: int, released: Sequence[int]) -> Reply:
        """Asks, and waits for the answer.

        Raises:
            BridgeError: if there is no memory for it, or the process has ended; this session has then, too.
        """
        for array in arrays:
            if array is not None:
                wire.code(array)  # before it is copied: numbers alone can be
        starts = self.requests.place(arrays)
        for side in (0, 1):
            if self._arenas[side].path != self._known[side]:
                self._tell_memory(side)
        described: list[int] = []
        for array, start in zip(arrays, starts, strict=True):
            described += describe(array, start)
        while True:
            self._ask(what, key, number, [len(released), *released, len(arrays), *described])
            bell = self._wait()
            while bell.status == Status.NO_ROOM:
                bell = self._more_room(bell.key)
            if bell.status == Status.INTERRUPTED and self._stragglers:
                self._stragglers -= 1  # a signal for an earlier call came late, and hit this one
                continue
            return bell.status, bell.key, self._read(bell)

    def _more_room(self, bytes_: int) -> Bell:
        """Makes the memory of replies so large; returns what had waited for that."""
        try:
            self.replies.grow(bytes_)
        except BridgeError as error:
            self._ask(What.NOTHING, 0, 0, _NO_ARRAYS)  # the results that wait are dropped
            self._wait()
            raise BridgeError(f"for the results of the Julia function {error}") from error
        return self._tell_memory(1)

    def _tell_memory(self, side: int) -> Bell:
        """Tells where the memory of requests (0) or replies (1) is, and its size."""
        arena = self._arenas[side]
        path = b"" if arena.path == self._known[side] else os.fsencode(arena.path)
        words = struct.unpack(f"={-(-len(path) // 8)}q", path + bytes(-len(path) % 8))
        self._ask(What.MEMORY, arena.capacity, side, [*_NO_ARRAYS, len(path), *words])
        found = self._wait()
        if found.status == Status.REFUSED:
            raise BridgeError("".join("" if a is None else a.tobytes().decode() for a in self._read(found)[1:2]))
        self._known[side] = arena.path
        arena.unlink()
        return found

    def _ask(self, what: What, key: int, number: int, rest: Sequence[int]) -> None:
        self._identity += 1
        if what is What.FORWARD:
            self.unclaimed = self._identity
        words = [self.requests.capacity, self._identity, what, key, number, *rest]
        message = struct.pack(f"={len(words) + 1}q", len(words), *words)
        if self.phase is not Phase.STARTING:
            self.phase = Phase.ASKED if len(message) <= select.PIPE_BUF else Phase.TORN
        try:
            while message:
                message = message[os.write(self.to.fileno(), message) :]
        except (OSError, ValueError):
            raise self._died() from None
        if self.phase is Phase.TORN:
            self.phase = Phase.ASKED

    def _wait(self, deadline: float | None = None) -> Bell:
        """The bell of what was asked last.

        Raises:
            TimeoutError: if it has not come by ``deadline``, of `time.monotonic`.
        """
        while True:
            if deadline is not None:
                self._poll(deadline)
            try:
                found = os.read(self.back.fileno(), BELL.size)
            except (OSError, ValueError):
                found = b""
            if len(found) != BELL.size:
                raise self._died()
            bell = Bell(*BELL.unpack(found))
            if bell.status == Status.INTERRUPTED and self._signals:
                self._stragglers += self._signals - 1
                self._signals = 0
            if bell.identity == self._identity:
                # Not in step until the signal is known to be spent: it would hit the next call.
                self.phase = Phase.ASKED if self._signals else Phase.IDLE
                return bell

    def _poll(self, deadline: float) -> None:
        poll = select.poll()  # not select.select: that knows the first 1024 descriptors alone
        poll.register(self.back.fileno(), select.POLLIN)
        if not poll.poll(max(0.0, 1000 * (deadline - time.monotonic()))):
            raise TimeoutError

    def _read(self, bell: Bell) -> list[Optional]:
        """The arrays of a reply, from the memory where it lies."""
        words = struct.unpack_from(f"={bell.words}q", self.replies.bytes.data)
        arrays: list[Optional] = []
        at = 0
        for _ in range(bell.arrays):
            code = words[at]
            if code in (0, wire.NUMBER):
                arrays.append(wire.number(words[at + 1]) if code else None)
                at += 2 if code else 1
                continue
            dimensions = words[at + 1]
            shape, start = words[at + 2 : at + 2 + dimensions], words[at + 2 + dimensions]
            at += 4 + dimensions
            arrays.append(self.replies.view(wire.DTYPES[code - 1], shape, start).copy())
        return arrays

    def interrupt(self, grace: float) -> bool:
        """Stops the call under way, so that no later one is hit; False: it does not stop within ``grace`` s.

        Raises:
            BridgeError: if the process has ended over it.
        """
        if self.phase is not Phase.ASKED or self.process is None:
            return self.phase is Phase.IDLE
        deadline = time.monotonic() + grace
        again = 0.0
        try:
            while True:
                now = time.monotonic()
                if now >= again:  # for the first time, or since an exception may have swallowed what it had led to
                    self._signals += 1
                    with contextlib.suppress(ProcessLookupError):  # if it has ended, reading will tell
                        os.kill(self.process.pid, signal.SIGINT)
                    again = now + _AGAIN
                self._ask(What.NOTHING, 0, 0, _NO_ARRAYS)
                self._wait(deadline)
                if not self._signals:
                    return True
                if now > deadline:
                    return False
                time.sleep(0.002)  # the signal may still be on its way
        except TimeoutError:
            return False

    def _died(self) -> BridgeError:
        for _ in range(500):  # it has closed its pipe, or been told of it, and is about to end
            if self._ended(os.WNOHANG):
                break
            time.sleep(0.01)
        code = None if self.process is None else self.process.returncode
        self.end()
        if code is None:
            how = "does not answer any more"
        else:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return BridgeError(f"the Julia process {how}; what it kept is gone, and the next call starts another")

    def _ended(self, options: int) -> bool:
        """Whether the process has ended. Not by Popen's own methods: an exception in them can leave a lock behind."""
        if self.process is None or self.owner != os.getpid():
            return True
        if self.process.returncode is None:
            try:
                pid, status = os.waitpid(self.process.pid, options)
            except ChildProcessError:  # somebody else has waited for it
                self.process.returncode = 0
            else:
                if pid:
                    self.process.returncode = os.waitstatus_to_exitcode(status)
        return self.process.returncode is not None

    def end(self) -> None:
        """Ends the process, and closes all that is shared with it. May be called again, and after an exception."""
        self.phase = Phase.ENDED
        if self.process is not None and not self._ended(os.WNOHANG):
            for kill in (os.killpg, os.kill):  # its group, if it has come to make one
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    kill(self.process.pid, signal.SIGKILL)
            self._ended(0)
        self.leave(unlink=True)

    def leave(self, *, unlink: bool) -> None:
        """Closes this side's ends. ``unlink=False``: in a fork, where all belongs to the parent."""
        self.phase = Phase.ENDED
        for pipe in self._pipes:
            pipe.close()
        for arena in self._arenas:
            arena.close(unlink=unlink)
