"""The folder of what is compiled in one worker: new and empty, gone with it; swept up where its owner was killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path

_PREFIX = "diffprog-caches-"
_YOUNG = 60.0
"""Seconds within which a folder may be one that its owner has not locked yet."""


class Caches:
    """A folder for a worker. Its owner holds a lock on it, so that others can tell whether it is still in use.

    Raises:
        OSError: if there is no place for one.
    """

    def __init__(self) -> None:
        _sweep()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._descriptor = _locked(self.path)

    def remove(self) -> None:
        """Removes it with all that is in it; a second time does nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock; None where another has it, or there is no such thing."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor
    return None


@cache
def _sweep() -> None:
    """Removes, once a process, what runs have left that were killed: old enough, and nobody's."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime < _YOUNG or (descriptor := _locked(folder)) is None:
                continue
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)
