"""Whose a report folder is: one run's, fit's or bridge's, filled by one process at a time; never the user's own."""

from __future__ import annotations

import errno
import json
import os
import weakref
from pathlib import Path

from diffprog.errors import UsageError

HOLDS = {
    "records.jsonl": "a run",
    "fits.jsonl": "a fit",
    "prices": "a run of the bridge",
    "work_precision.csv": "a ladder of precision",
    "before/records.jsonl": "two runs in turn",
    "after/records.jsonl": "two runs in turn",
}
"""What a folder is, by what is in it."""
WRITTEN = (
    "summary.md", "index.html", "gpu.html", "rates.json", "environment.json", "models.json", "tables", "figures",
    "arrays", "logs",
)  # fmt: skip
"""What else the suite writes into a folder."""


def kinds(folder: Path) -> list[str]:
    """What a folder is by now."""
    return list(dict.fromkeys(kind for name, kind in HOLDS.items() if _there(folder / name)))


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that can be none
        return False


def check(folder: Path, *, may_be: tuple[str, ...] = ()) -> None:
    """Refuses a folder that is another's.

    Args:
        folder: it need not exist.
        may_be: what it may be already, of the values of `HOLDS`.

    Raises:
        UsageError: if it is no folder, is something else than ``may_be``, or holds a file of the user's own that the
            suite would write over.
    """
    try:
        folder.stat()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise UsageError(f"the report folder {folder!s:.200} cannot be written ({error})") from error
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file: choose a folder with --out")
    found = kinds(folder)
    other = [kind for kind in found if kind not in may_be]
    if other:
        raise UsageError(f"{folder} already holds {' and '.join(other)}: choose another folder with --out")
    if found or _was_begun(folder):
        return
    names = [name for name in WRITTEN if (folder / name).exists()]
    if names:
        raise UsageError(f"{folder} holds {names[0]}, which is not the suite's: choose another folder with --out")


def _was_begun(folder: Path) -> bool:
    """Whether this is what remains of a run that ended before its first record."""
    if any((folder / name).exists() for name in ("summary.md", "index.html")):
        return False
    try:
        return {"suite", "host", "platform"} <= set(json.loads((folder / "environment.json").read_text()))
    except (OSError, ValueError, TypeError):
        return False


class Lock:
    """Holds a folder for this process while the object lives; with the process it goes, however that ends."""

    def __init__(self, descriptor: int) -> None:
        weakref.finalize(self, os.close, descriptor)


_held: weakref.WeakValueDictionary[tuple[int, int], Lock] = weakref.WeakValueDictionary()


def lock(folder: Path) -> Lock | None:
    """Holds a folder that exists; None where the system, or the folder's file system, has no such locks.

    Raises:
        UsageError: if another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    found = os.fstat(descriptor)
    mine = _held.get((found.st_dev, found.st_ino))
    if mine is not None:
        os.close(descriptor)
        return mine
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            return None
        raise UsageError(
            f"another process is writing into {folder}: wait for it, or choose another folder with --out"
        ) from error
    new = _held[found.st_dev, found.st_ino] = Lock(descriptor)
    return new
