"""What a task's picture is given, and what pictures have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from diffprog.records.cells import Record
from diffprog.spec import Array, Arrays, Case


@dataclass(frozen=True)
class Shown:
    """One backend's results for a case. The first one of a picture is the reference."""

    record: Record
    arrays: Arrays

    @property
    def backend(self) -> str:
        return self.record.backend

    @property
    def name(self) -> str:
        precision = "" if self.record.precision == "float64" else f", {self.record.precision}"
        flag = "" if self.record.outcome == "ok" else f" ({self.record.outcome})"
        return f"{self.backend}{precision}{flag}"

    def beside(self, reference: Shown, output: str) -> str:
        """The name for a legend, with the largest absolute difference of an output from the reference's."""
        if self is reference:
            return f"{self.name} (reference)"
        mine, theirs = self.arrays[output], reference.arrays[output]
        distance = float(np.max(np.abs(mine - theirs)))
        return f"{self.name}: " + (f"within {distance:.0e} of" if distance else "equal to") + f" {reference.backend}"


Picture = Callable[[Case, Arrays, Sequence[Shown]], Figure | None]
"""``picture`` of a task: from the case, its inputs and a cell a backend; None where there is nothing to show."""


def square(length: int) -> int | None:
    """The side of a square image of ``length`` pixels, or None if it is not one."""
    side = round(length**0.5)
    return side if side * side == length and side > 1 else None


def largest(values: Array) -> float:
    """The largest finite magnitude, or 1 if there is none above zero: the end of a colour scale."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0


def bins(values: Array, most: int = 256) -> Array:
    """Sums of equal runs of a vector whose length is a power of two, so that at most ``most`` are left."""
    sums: Array = values.reshape(min(len(values), most), -1).sum(axis=1)
    return sums
