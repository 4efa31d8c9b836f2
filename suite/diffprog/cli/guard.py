"""Runs a command line to its exit code: whatever happens ends in one sentence, never in a bare traceback."""

from __future__ import annotations

import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from types import FrameType

import typer

from diffprog.cli import app, console
from diffprog.cli.streams import lenient
from diffprog.errors import UsageError
from diffprog.plain import on_one_line

WRONG, FAULT, STOPPED = 2, 3, 130
"""Exit codes: the command was wrong; a fault of the suite; Ctrl-C."""
SHOWN = ("list", "doctor", "compare")
"""Commands whose result is what they print: it must have been written."""
_CLICK: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def guarded(arguments: Sequence[str], *, listening: bool = False) -> int:
    """The exit code of the command; what it has to say is on standard output and error.

    Args:
        arguments: what follows ``diffprog``.
        listening: whether Ctrl-C is to be answered.
    """
    console.stop.asked = console.stop.told = False
    if listening:
        signal.signal(signal.SIGINT, _interrupt)
    with lenient() as lost:
        code = _run(arguments)
        if listening:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: nothing of Python's ending is to be seen
        sys.stdout.flush()
        if lost.reason:
            console.warn(f"diffprog: standard output could not be written ({lost.reason})", "bold red")
            code = code or (WRONG if arguments and arguments[0] in SHOWN else 0)
    return code


def _interrupt(number: int, frame: FrameType | None) -> None:
    console.stop.asked = True
    raise KeyboardInterrupt


def _run(arguments: Sequence[str]) -> int:
    try:
        try:
            code = app.app(args=list(arguments), prog_name="diffprog", standalone_mode=False)
        except (UsageError, _CLICK) as error:
            return _wrong(error)
        except (KeyboardInterrupt, typer.Abort):
            return _stopped()
        except Exception as error:  # what follows from Ctrl-C in the middle of a library may be anything
            return _stopped() if console.stop.asked else _fault(error)
        if code == STOPPED:
            return _stopped()
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:  # once more, while the first was being answered
        return STOPPED


def _wrong(error: Exception) -> int:
    told = getattr(error, "format_message", error.__str__)()
    if type(error).__name__ != "NoArgsIsHelpError":  # then the help was printed
        console.warn(f"diffprog: {on_one_line(told)}", "bold red")
    return int(getattr(error, "exit_code", WRONG))


def _stopped() -> int:
    if not console.stop.told:
        console.stopped("What was written until then is kept.")
    return STOPPED


def _fault(error: Exception) -> int:
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="diffprog-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(text)
        where = f"the traceback is in {file.name}"
    except OSError:
        where = "the traceback is above"
        console.warn(text)
    told = on_one_line(f"{type(error).__name__}: {error}"[:400])
    console.warn(
        f"diffprog: a fault of the suite ended the command ({told}); what was measured is kept; {where}", "bold red"
    )
    return FAULT
