"""Writes the folder of a new task: a small model that works, to be replaced by the user's own."""

from __future__ import annotations

import keyword
import shlex
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from diffprog.errors import UsageError
from diffprog.models import loading

CALLED = {
    "numpy": "the loss in NumPy, compared by its value",
    "torch": "the loss in PyTorch",
    "jax": "the loss in JAX",
    "julia": "the loss in Julia",
}
"""What the README says of each file."""


def check(folder: Path, taken: Sequence[str]) -> None:
    """Refuses a folder that cannot become a task's.

    Args:
        folder: where it is to be.
        taken: names of tasks that there are.

    Raises:
        UsageError: if it is there and holds something, or its name is none, or another task's.
    """
    name = loading.name_of(folder)
    if keyword.iskeyword(name):
        raise UsageError(f"{name!r} is a word of Python's own: choose another name for the task")
    if name in taken:
        raise UsageError(f"there is a task {name} already: choose another name, since a run names its tasks by it")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: choose another name")
    try:
        holds = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise UsageError(f"{folder} cannot be looked into ({error})") from error
    if holds:
        raise UsageError(f"{folder} is not empty (it holds {holds[0]}): choose another name, or an empty folder")


def write(folder: Path, backends: Sequence[str]) -> list[Path]:
    """Writes the files into a folder that `check` has found good, and returns their paths.

    Raises:
        UsageError: if one cannot be written.
    """
    where = shown(folder)
    table = "\n".join(f"| `{loading.FILES[name]}` | {CALLED[name]} |" for name in backends)
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source, target in _sources(backends):
            text = files("diffprog.models").joinpath("templates", source).read_text(encoding="utf-8")
            if source == "README.md":
                text = text.replace("{name}", loading.name_of(folder)).replace("{files}", table)
                text = text.replace("{where}", where)
            (folder / target).write_text(text, encoding="utf-8")
            written.append(folder / target)
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be written ({error})") from error
    return written


def _sources(backends: Sequence[str]) -> list[tuple[str, str]]:
    """What is copied, and what it is called there: nothing in the suite's own sources is to be taken for git's."""
    names = [loading.DECLARATION, *(loading.FILES[name] for name in backends), "README.md"]
    return [*((name, name) for name in names), ("gitignore", ".gitignore")]


def shown(folder: Path) -> str:
    """The folder as it is typed after a command: with a separator in it, so that it is not taken for a name."""
    text = str(folder)
    return shlex.quote(text if folder.is_absolute() or text.startswith("..") or text == "." else f"./{text}")
