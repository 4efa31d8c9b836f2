"""Imports matplotlib as if nobody had settings of their own for it.

What it reads as it is imported cannot be taken back: a damaged ``matplotlibrc`` in the working folder, or a backend
that MPLBACKEND names and nobody has, ends the import. `diffprog.drawing.style` sees to the settings themselves.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path


def import_matplotlib() -> None:
    """Does it, unless it is imported already."""
    if "matplotlib" in sys.modules:
        return
    found = find_spec("matplotlib")
    if found is None or found.origin is None:
        return  # whoever needs it says so
    own = Path(found.origin).parent / "mpl-data"
    asked = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "agg"
    try:
        with _within(own):  # matplotlib's own settings file is there, and the working folder is looked in first
            import matplotlib  # noqa: F401
    finally:
        del os.environ["MPLBACKEND"]
        if asked is not None:
            os.environ["MPLBACKEND"] = asked


@contextlib.contextmanager
def _within(folder: Path) -> Iterator[None]:
    try:
        moved = contextlib.chdir(folder)
        moved.__enter__()
    except OSError:  # the working folder is gone, or there is no such folder: nothing to avoid, or no way to
        yield
        return
    try:
        yield
    finally:
        moved.__exit__(None, None, None)


import_matplotlib()
