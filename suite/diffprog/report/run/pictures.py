"""One picture a case that shows its physics, from the arrays that the cells returned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from diffprog.records.cells import Record
from diffprog.report import arrays
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


def square(length: int) -> int | None:
    """The side of a square image of ``length`` pixels, or None if it is not one."""
    side = round(length**0.5)
    return side if side * side == length and side > 1 else None


def one_each(folder: Path, records: Sequence[Record], output: str) -> list[Shown]:
    """One cell a backend that returned ``output``, the reference first; what has another shape cannot be drawn."""
    shown: dict[str, Shown] = {}
    for record in sorted(records, key=arrays.rank):
        if record.backend not in shown:
            found = arrays.results(folder, record)
            if found and output in found:
                first = next(iter(shown.values()), None)
                if first is None or first.arrays[output].shape == found[output].shape:
                    shown[record.backend] = Shown(record, found)
    return list(shown.values())


def largest(values: Array) -> float:
    """The largest finite magnitude, or 1 if there is none above zero: the end of a colour scale."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0


def bins(values: Array, most: int = 256) -> Array:
    """Sums of equal runs of a vector whose length is a power of two, so that at most ``most`` are left."""
    sums: Array = values.reshape(min(len(values), most), -1).sum(axis=1)
    return sums


def draw(folder: Path, records: Sequence[Record]) -> dict[str, Figure]:
    """The pictures of all cases whose task has one and whose arrays are there, by file name."""
    from diffprog.tasks.eigensolver import picture as picture_eigensolver
    from diffprog.tasks.flow import picture as picture_flow
    from diffprog.tasks.qcbm import picture as picture_qcbm
    from diffprog.tasks.trg import picture as picture_trg

    tasks: dict[str, tuple[str, Picture]] = {
        "qcbm": ("distribution", picture_qcbm.picture),
        "flow": ("log_density", picture_flow.picture),
        "eigensolver": ("energies", picture_eigensolver.picture),
        "trg": ("correlations", picture_trg.picture),
    }
    drawn: dict[str, Figure] = {}
    for case, members in arrays.by_case(records).items():
        given = arrays.inputs(folder, case)
        if case.task in tasks and given is not None:
            output, picture = tasks[case.task]
            shown = one_each(folder, members, output)
            figure = picture(case, given, shown) if shown else None
            if figure is not None:
                drawn[case.key] = figure
    return drawn
