"""What ``--worker NAME=COMMAND`` says: backends with a worker of the user's own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from diffprog.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def workers(asked: Sequence[str] | None) -> dict[str, list[str]]:
    """Backends with a worker of their own, and how each is started.

    Raises:
        UsageError: if one is not NAME=COMMAND, or cannot be started.
    """
    found: dict[str, list[str]] = {}
    for text in asked or ():
        name, _, line = text.partition("=")
        try:
            command = shlex.split(line)
        except ValueError as error:
            raise UsageError(f"the command of --worker {text!r} cannot be read ({error})") from None
        if not _NAME.fullmatch(name) or not command:
            raise UsageError(
                f"a worker is NAME=COMMAND, the name in small letters, not {text!r} (at most 32 letters and digits)"
            )
        if name in found:
            raise UsageError(f"there are two workers of {name!r}: give each a name of its own")
        told = _unfit(command[0])
        if told:
            raise UsageError(f"the worker of {name} cannot be started: {told}")
        found[name] = command
    return found


def _unfit(program: str) -> str:
    """Why the system will not start a program; empty if it should."""
    try:
        where = shutil.which(program)
        file = Path(where or program)
        if where is None:
            if file.is_dir():
                return f"{program!r} is a folder"
            if file.is_file() and os.path.dirname(program):  # noqa: PTH120 - a bare name is looked for on the PATH
                return f"{program!r} is not executable (chmod +x)"
            return f"there is no program {program!r}"
        with file.open("rb") as opened:
            start = opened.read(256)
    except PermissionError:
        return ""  # it may be started, but not read
    except (OSError, ValueError) as error:
        return f"{program!r} cannot be looked up ({error})"
    if start.startswith(b"#!"):
        interpreter = start.splitlines()[0][2:].decode("utf-8", "replace").split()
        if not interpreter or shutil.which(interpreter[0]) is None:
            return f"{program!r} begins with {'#! ' + ' '.join(interpreter)!r}, and there is no such program"
        return ""
    if os.name == "posix" and _is_text(start):
        return f"{program!r} is no program: a script begins with #! and the program that reads it"
    return ""


def _is_text(start: bytes) -> bool:
    """Whether a file that begins so is text, or empty: what no system starts by itself."""
    return b"\0" not in start and not start.startswith((b"\x7fELF", b"MZ"))
