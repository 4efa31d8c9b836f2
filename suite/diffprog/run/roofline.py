"""The floor of a cell's time: what its task demands at least, over what the device does at its best."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from diffprog import tasks
from diffprog.errors import UsageError
from diffprog.records.cells import Floor, Rates
from diffprog.run import files
from diffprog.spec import Cell, dtype

FILE = "rates.json"


class Key(NamedTuple):
    """What rates belong to."""

    backend: str
    device: str
    precision: str
    threads: int


class Entry(msgspec.Struct, frozen=True):
    """A line of the file."""

    backend: str
    device: str
    precision: str
    threads: int
    rates: Rates
    origin: str = ""
    """Of which machine."""


class Book:
    """The rates of a report folder, measured once for each key and kept in ``rates.json``.

    Those of another machine than ``origin`` names are not taken.

    Raises:
        UsageError: if the file is there and cannot be read.
    """

    def __init__(self, folder: Path, origin: str = "") -> None:
        self.path = folder / FILE
        self.origin = origin
        self._known: dict[Key, Rates] = {}
        if self.path.exists():
            try:
                entries = msgspec.json.decode(self.path.read_bytes(), type=list[Entry])
            except (OSError, msgspec.DecodeError) as error:
                raise UsageError(f"cannot read the device's rates in {self.path} ({error}): remove the file") from error
            mine = [entry for entry in entries if entry.origin == origin]
            self._known = {Key(e.backend, e.device, e.precision, e.threads): e.rates for e in mine}

    def forget(self) -> None:
        """Has all of them measured again."""
        self._known = {}

    def get(self, key: Key) -> Rates | None:
        return self._known.get(key)

    def note(self, key: Key, rates: Rates) -> None:
        self._known[key] = rates
        text = msgspec.json.encode([Entry(*key, rates, self.origin) for key, rates in self._known.items()])
        try:
            files.write_atomically(self.path, msgspec.json.format(text, indent=1).decode() + "\n")
        except OSError as error:
            raise UsageError(f"cannot write {self.path} ({error}); earlier records are kept") from error


def key_of(cell: Cell, threads: int) -> Key:
    return Key(cell.backend, cell.device, cell.precision, threads)


def floor(cell: Cell, config: Any, rates: Rates | None) -> Floor | None:
    """The least seconds of a call of the value and of the gradient; None where there are no rates or no demand."""
    if rates is None:
        return None
    demand, itemsize = tasks.get(cell.case.task).demand, np.dtype(dtype(cell.precision)).itemsize
    found: dict[str, Any] = {}
    for operator in ("value", "gradient") if cell.operator == "gradient" else ("value",):
        least = demand(config, cell.method, operator, itemsize)
        if least is not None:
            # An unknown cache may hold everything: the floor stays one.
            moving = least.moved(float("inf") if rates.cache is None else rates.cache) / rates.bandwidth
            computing = least.flops / rates.flops
            found[operator] = max(moving, computing)
            found[f"{operator}_bound"] = "memory" if moving > computing else "arithmetic"
    return Floor(**found, rates=rates) if found else None
