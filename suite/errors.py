"""The one exception that means: what was asked for cannot be done as asked."""

from __future__ import annotations


class UsageError(Exception):
    """A wrong command, setting or file. Its text is one clear sentence for the user; the exit code is 2."""
