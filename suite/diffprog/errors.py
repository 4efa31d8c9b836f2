"""The one exception that means: what was asked for cannot be done as asked."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class UsageError(Exception):
    """A wrong command, setting or file. Its text is one clear sentence for the user; the exit code is 2."""


def nearest(name: str, known: Sequence[str]) -> str:
    """``; did you mean …?`` for a name that is like one of those known; else nothing."""
    like = difflib.get_close_matches(name.lower(), known, 1, cutoff=0.5)
    return f"; did you mean {like[0]!r}?" if like else ""
