"""Writes .npz files of arrays of any names, and reads them, whatever has become of them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from diffprog.records.cells import Record
from diffprog.spec import Arrays


class Damaged(Exception):
    """A file of arrays cannot be read; the text says why."""


def write(path: Path, arrays: Arrays) -> None:
    """The arrays as np.savez writes them, which cannot have one called ``file``: its own argument is.

    Raises:
        OSError: if there is no room.
    """
    with zipfile.ZipFile(path, "w") as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def read(path: Path) -> Arrays:
    """The arrays of an .npz file.

    Raises:
        Damaged: if there is none, or it cannot be read whole: zip, compression, header or numbers may be wrong in any
            way.
    """
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise Damaged("it is no file")
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Damaged:
        raise
    except Exception as error:
        raise Damaged(str(error) or type(error).__name__) from error


def belongs(arrays: Arrays, record: Record) -> bool:
    """Whether these can be the arrays of a record that is ok: its derivative, of its shape, and its value."""
    value, derivative = arrays.get("value"), arrays.get(record.operator)
    if derivative is None:
        return False
    if record.operator in ("gradient", "hvp") and record.parameters and derivative.shape != (record.parameters,):
        return False
    if value is None or record.value is None:
        return True
    return value.shape == () and abs(float(value) - record.value) <= 1e-12 * max(1.0, abs(record.value))
