"""The files of a report folder that are not records: inputs, arrays, descriptions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from diffprog import tasks
from diffprog.errors import UsageError
from diffprog.measure.finite_differences import unit_directions
from diffprog.records import npz
from diffprog.spec import Array, Arrays, Case


def one_thread() -> threadpool_limits:
    """In this context BLAS has one thread: inputs are the same bit for bit, however many it has elsewhere."""
    return threadpool_limits(1)


def write_inputs(folder: Path, case: Case) -> Path:
    """The case's inputs, drawn on the host and written once for all backends.

    Raises:
        UsageError: if the folder holds other inputs than those the suite draws now, or cannot be written.
    """
    path = folder / "arrays" / case.key / "inputs.npz"
    task = tasks.get(case.task)
    with one_thread():
        drawn = task.draw(task.configure(case.variant, case.size), case.seed)
    drawn["directions"] = directions(drawn["params"].size, case)
    if path.exists():
        stored = load(path)
        if stored.keys() != drawn.keys() or any(not np.array_equal(stored[name], drawn[name]) for name in drawn):
            raise UsageError(f"{path} holds other inputs than the suite draws now: choose a new folder with --out")
        return path
    save(path, drawn)
    return path


def share_inputs(first: Path, second: Path, case: Case) -> None:
    """Draws the case's inputs once for the runs in two folders: bit for bit the same, whatever drew them.

    Raises:
        UsageError: as `write_inputs`.
    """
    path = write_inputs(first, case)
    copied = second / path.relative_to(first)
    if not copied.exists():
        save(copied, load(path))


def save(path: Path, arrays: Arrays) -> None:
    """Writes an .npz file whole or not at all.

    Raises:
        UsageError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.stem + ".partial.npz")
        npz.write(partial, arrays)
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error}); earlier records are kept") from error


def directions(parameters: int, case: Case) -> Array:
    """Random unit directions (k, P) for finite differences: three, or one where a value is expensive."""
    return unit_directions(parameters, 3 if case.size in ("tiny", "small") else 1, case.seed)


def load(path: Path) -> Arrays:
    """The arrays of an .npz file.

    Raises:
        UsageError: if it cannot be read.
    """
    try:
        return npz.read(path)
    except npz.Damaged as error:
        raise UsageError(f"cannot read the arrays in {path} ({error})") from error


@contextlib.contextmanager
def kept(path: Path) -> Iterator[Callable[[], bool]]:
    """The file is after this context what it was before; yields whether it has been changed by now.

    Raises:
        UsageError: if it cannot be read, or not written again.
    """
    try:
        before = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path} ({error})") from error

    def changed() -> bool:
        try:
            return path.is_symlink() or not path.is_file() or path.read_bytes() != before
        except OSError:
            return True

    try:
        yield changed
    finally:
        if changed():
            partial = path.with_name(path.name + ".partial")
            try:
                partial.write_bytes(before)
                partial.replace(path)
            except OSError as error:
                raise UsageError(f"cannot write {path} again ({error}); earlier records are kept") from error


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file's text whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    partial.replace(path)
