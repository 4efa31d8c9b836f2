"""Standard output and error as the command writes to them: whatever they are, a run is not lost for their sake.

Characters that they cannot encode are spelt in ASCII. Where nobody reads, or the disk is full, what is written is
dropped, and what was amiss is kept for the end.
"""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TextIO

from diffprog.plain import escape

_ERRORS = "diffprog-ascii"
_SPELT = {
    "–": "-", "—": "-", "−": "-", "‐": "-", "…": "...", "·": "-", "•": "*", "×": "x", "±": "+-", "µ": "u", "μ": "u",
    "✓": "+", "✗": "x", "○": "o", "→": "->", "←": "<-", "≤": "<=", "≥": ">=", "≈": "~", "∞": "inf", "°": " deg",
    "²": "^2", "³": "^3", "‖": "||", "′": "'", "’": "'", "‘": "'", "“": '"', "”": '"',
}  # fmt: skip


def _spell(error: UnicodeError) -> tuple[str, int]:
    """An error handler of `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


def _ascii(char: str) -> str:
    if char in _SPELT:
        return _SPELT[char]
    if unicodedata.category(char) == "Zs":
        return " "
    if 0x2500 <= ord(char) <= 0x28FF:  # lines, blocks, the dots of a spinner
        return "-"
    return escape(char)


codecs.register_error(_ERRORS, _spell)


class _Raw(io.RawIOBase):
    """A descriptor that always takes what is written, though it may not keep it."""

    def __init__(self, descriptor: int, lost: list[OSError]) -> None:
        self._descriptor = descriptor
        self._lost = lost

    def write(self, data: Any) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            select.select([], [self._descriptor], [])
            return 0
        except OSError as error:
            self._lost.append(error)
            return len(memoryview(data).cast("B"))

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)


@dataclass
class Lost:
    """What could not be written, of standard output and of standard error."""

    out: list[OSError] = field(default_factory=list)
    err: list[OSError] = field(default_factory=list)

    @property
    def reason(self) -> str:
        """Why standard output was lost; empty if nothing was, or if its reader had merely had enough (``| head``)."""
        worse = [error for error in self.out if not isinstance(error, BrokenPipeError)]
        return os.strerror(worse[0].errno or 0) if worse else ""


def _lenient(stream: TextIO | None, descriptor: int, lost: list[OSError]) -> TextIO:
    try:
        encoding = "utf-8"
        if stream is not None:
            stream.flush()
            encoding, descriptor = stream.encoding, stream.fileno()
    except (OSError, ValueError, AttributeError):
        assert stream is not None
        return stream  # no file: a notebook's or a test's
    at_once = descriptor == 2 or os.isatty(descriptor)
    return io.TextIOWrapper(io.BufferedWriter(_Raw(descriptor, lost)), encoding, _ERRORS, line_buffering=at_once)


@contextmanager
def lenient() -> Iterator[Lost]:
    """In this block writing to ``sys.stdout`` and ``sys.stderr`` never fails; yields what was lost."""
    before, lost = (sys.stdout, sys.stderr), Lost()
    made = _lenient(sys.stdout, 1, lost.out), _lenient(sys.stderr, 2, lost.err)
    sys.stdout, sys.stderr = made
    try:
        yield lost
    finally:
        for stream, other in zip(made, before, strict=True):
            if stream is not other:
                with suppress(ValueError):
                    stream.flush()
        sys.stdout, sys.stderr = before
