"""The exceptions that mean: what was asked for cannot be done as asked, or not here."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class UsageError(Exception):
    """A wrong command, setting or file. Its text is one clear sentence for the user; the exit code is 2."""


def nearest(name: str, known: Sequence[str]) -> str:
    """``; did you mean …?`` for a name that is like one of those known; else nothing."""
    like = difflib.get_close_matches(name.lower(), known, 1, cutoff=0.5)
    return f"; did you mean {like[0]!r}?" if like else ""


class Unavailable(Exception):
    """The backend cannot be used on this machine. ``mend`` is the command that would change that."""

    def __init__(self, reason: str, mend: str = "") -> None:
        super().__init__(reason)
        self.mend = mend


class Unsupported(Exception):
    """The backend works, but has no such cell; the text is the reason."""
