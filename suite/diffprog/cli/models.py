"""Tasks from outside, as commands are given them: a folder, or what an installed distribution brings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from diffprog import tasks
from diffprog.errors import UsageError
from diffprog.models import loading
from diffprog.models.loading import DECLARATION

GROUP = "diffprog.tasks"
"""The group of entry points by which a distribution names its tasks: ``name = "package.of.the.folder"``."""


def named(asked: Sequence[str] | None) -> tuple[str, ...] | None:
    """The names of the tasks asked for, each known from now on; folders and what is installed are looked up.

    Raises:
        UsageError: for a folder that is no task, or two tasks of one name.
    """
    return None if asked is None else tuple(dict.fromkeys(name_of(one) for one in asked))


SUITE = "the suite"
"""Where its own tasks come from."""


def name_of(asked: str) -> str:
    """The name of one task, a folder or a name; see `named`."""
    if looks_like_a_folder(asked):
        try:
            return tasks.add(Path(asked).expanduser()).name
        except RuntimeError as error:  # nobody is called so
            raise UsageError(f"the folder {asked!r} cannot be looked up ({error})") from None
    points = [point for point in installed() if point.name == asked]
    here = _is_there(Path(asked) / DECLARATION)
    if here and (points or asked in tasks.NAMES):
        other = origin(points[0]) if points else SUITE
        raise UsageError(
            f"two tasks are called {asked}: the folder ./{asked} and the one of {other}; rename the folder"
        )
    if points and asked not in tasks.known():
        return add(points[0])
    if asked not in tasks.known() and _is_there(Path(asked)):  # a name that is none, of a folder that is there
        return tasks.add(Path(asked)).name
    return asked


def _is_there(path: Path) -> bool:
    """Whether there is such a file or folder; a name that can be none is not there."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def origin_of(name: str) -> str:
    """Where a task that is known comes from: the suite, a distribution with its version, or a folder."""
    folder = tasks.get(name).folder
    if folder is None:
        return SUITE
    points = [origin(point) for point in installed() if point.name == name and _folder_of(point) == folder]
    return points[0] if points else str(folder)


def looks_like_a_folder(asked: str) -> bool:
    """Whether a task is given by its folder: by a path with a separator in it, or a dot or tilde before it."""
    return os.sep in asked or (os.altsep or os.sep) in asked or asked[:1] in (".", "~")


def installed() -> list[EntryPoint]:
    """The tasks that distributions bring, by name.

    Raises:
        UsageError: if two have one name, or one has the name of a task of the suite.
    """
    found = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    for point in found:
        if point.name in tasks.NAMES:
            raise UsageError(
                f"two tasks are called {point.name}: the one of {SUITE} and that of {origin(point)}; uninstall that"
            )
    for one, other in pairwise(found):
        if one.name == other.name and one.value != other.value:
            raise UsageError(
                f"two tasks are called {one.name}: {origin(one)} and {origin(other)}; uninstall one of them"
            )
    return found


def origin(point: EntryPoint) -> str:
    """The distribution that brings a task, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def add(point: EntryPoint) -> str:
    """Makes a distribution's task known; returns its name.

    Raises:
        UsageError: if what it names is no folder of a task, or is called otherwise than it says.
    """
    folder = _folder_of(point)
    if folder is None:
        raise UsageError(f"the task {point.name} of {origin(point)} is not there: {point.value} is no package")
    if loading.name_of(folder) != point.name:
        raise UsageError(f"{origin(point)} calls a task {point.name} whose folder is called {folder.name}")
    return tasks.add(folder).name


def _folder_of(point: EntryPoint) -> Path | None:
    """The folder of the package that an entry point names; None where there is none."""
    try:
        found = find_spec(point.value)
    except (ImportError, ValueError, AttributeError):
        return None
    places = list(found.submodule_search_locations or ()) if found is not None else []
    return Path(places[0]).resolve() if places else None
