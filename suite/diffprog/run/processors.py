"""Which processors a worker is bound to: those that no other run has claimed, where that can be known.

A claim is a name in Linux's abstract namespace of sockets: one process of the machine can hold it (of its network
namespace, to be exact), whoever's it is, it leaves no file, and it is gone when its owner is, however that ended.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from threading import Lock


@dataclass(frozen=True)
class _Held:
    """A processor of this process's workers. They take turns, so that several may go by one claim."""

    users: int
    name: socket.socket | None
    """What the claim hangs on; None where another run has it, or the system has no such names."""
    shared: bool = False


_held: dict[int, _Held] = {}
_lock = Lock()


@dataclass(frozen=True)
class Claim:
    """Processors for one worker; ``shared`` are those among them that another run has claimed."""

    processors: tuple[int, ...] = ()
    shared: tuple[int, ...] = ()

    def __str__(self) -> str:
        text = ", ".join(map(str, self.processors))
        return f"{text} (claimed by another run too: {', '.join(map(str, self.shared))})" if self.shared else text

    def release(self) -> None:
        """Gives the processors back."""
        with _lock:
            for number in self.processors:
                held = _held.pop(number, None)
                if held is not None and held.users > 1:
                    _held[number] = replace(held, users=held.users - 1)
                elif held is not None and held.name is not None:
                    held.name.close()


def claim(threads: int) -> Claim:
    """As many processors as there are threads, or as this process may use; none where the system binds no process.

    Those that this process has claimed already come first, then the last ones: the first takes the interrupts. Where
    too few are free, it takes what others have claimed, and says so.
    """
    if not hasattr(os, "sched_setaffinity"):
        return Claim()
    with _lock:
        order = sorted(os.sched_getaffinity(0), key=lambda n: (n not in _held or _held[n].shared, -n))
        taken: list[int] = []
        for share in (False, True):  # better a shared processor than none, but told
            for number in order:
                if len(taken) < threads and number not in taken and _take(number, share=share):
                    taken.append(number)
        return Claim(tuple(sorted(taken)), tuple(sorted(number for number in taken if _held[number].shared)))


def _take(number: int, *, share: bool) -> bool:
    """Claims a processor for one worker more; False where another process has it and it is not to be shared."""
    held = _held.get(number, _Held(0, None, shared=True))
    if held.shared:  # perhaps it is free by now
        try:
            held = replace(held, name=_socket(number), shared=False)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE  # otherwise there are no such names, and nothing is known
            if taken and not share:
                return False
            held = replace(held, shared=taken)
    _held[number] = replace(held, users=held.users + 1)
    return True


def _socket(number: int) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        found.bind(f"\0diffprog-processor-{number}")
    except OSError:
        found.close()
        raise
    return found


@contextlib.contextmanager
def bound(processors: tuple[int, ...]) -> Iterator[bool]:
    """In this context the calling thread is bound, and with it every process that it starts, from the first moment.

    Yields whether it is.
    """
    if sys.platform != "linux" or not processors:
        yield False
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, processors)
    except OSError:  # the system forbids it
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setaffinity(0, before)


def strayed(pid: int, claimed: Claim) -> set[int]:
    """The processors beyond the claimed ones that a thread of the process may use: one that has rebound itself."""
    found: set[int] = set()
    if sys.platform != "linux" or not claimed.processors:
        return found
    with contextlib.suppress(OSError):  # it has ended
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names are wanted
            with contextlib.suppress(OSError):  # this thread has
                found |= os.sched_getaffinity(int(thread))
    return found - set(claimed.processors)
