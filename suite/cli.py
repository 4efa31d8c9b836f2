"""The entry point ``diffprog``. It imports next to nothing, so that Ctrl-C is answered from the first moment on."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any


def main() -> None:
    """Runs the command line; exits with its code."""
    listening = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else: ignored, as nohup has it
    if listening:
        signal.signal(signal.SIGINT, _too_early)
    _open_what_is_closed()
    from suite import cli_guard  # the libraries, for a second or more

    code = cli_guard.guarded(sys.argv[1:], listening=listening)
    if listening:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: nothing of Python's ending is to be seen
    sys.exit(code)


def __getattr__(name: str) -> Any:
    """``app``, the commands, for whoever calls them from Python."""
    if name == "app":
        from suite.cli_app import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _too_early(number: int, frame: FrameType | None) -> None:
    """At once: an exception might be swallowed, or turned into another, within a library's import."""
    os.write(2, b"diffprog: stopped before anything began.\n")
    os._exit(130)


def _open_what_is_closed() -> None:
    """Standard streams that came closed lead nowhere, or the next file opened would take their place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


if __name__ == "__main__":
    main()
