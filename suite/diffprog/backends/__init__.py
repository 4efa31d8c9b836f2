"""Backends: import a framework, pick device and precision, move arrays, compile, synchronise. Nothing of a task."""

from __future__ import annotations

from importlib import import_module

from diffprog.backends.base import Backend
from diffprog.errors import UsageError
from diffprog.spec import BACKENDS


def get(name: str) -> Backend:
    """The backend of that name, not yet opened: its framework is not imported by this.

    Raises:
        UsageError: if there is no such backend.
    """
    if name not in BACKENDS:
        raise UsageError(f"there is no backend {name!r}; the backends are: {', '.join(BACKENDS)}")
    backend: Backend = import_module(f"diffprog.backends.{name}_backend").BACKEND()
    return backend
