"""The entry point ``diffprog``. It imports next to nothing, so that Ctrl-C is answered from the first moment on."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType


def main() -> None:
    """Runs the command line; exits with its code."""
    listening = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else: ignored, as nohup has it
    if listening:
        signal.signal(signal.SIGINT, _too_early)
    _open_what_is_closed()
    try:
        from diffprog.cli import guard  # the libraries, for a second or more
    except Exception as error:
        told = f"{type(error).__name__}: {error}".encode("ascii", "backslashreplace").decode().replace("\n", " ")
        sys.exit(_say(f"a library cannot be loaded ({told}); python -c 'import diffprog.cli.guard' shows where.", 3))
    code = guard.guarded(sys.argv[1:], listening=listening)
    sys.exit(code)


def _too_early(number: int, frame: FrameType | None) -> None:
    """At once: an exception might be swallowed, or turned into another, within a library's import."""
    os._exit(_say("stopped before anything began.", 130))


def _say(text: str, code: int) -> int:
    """A sentence on standard error, without the libraries."""
    with suppress(OSError):
        os.write(2, f"diffprog: {text}\n".encode("ascii"))
    return code


def _open_what_is_closed() -> None:
    """Standard streams that came closed lead nowhere, or the next file opened would take their place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
