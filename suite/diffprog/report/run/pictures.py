"""One picture a case that shows its physics, from the arrays that the cells returned.

A task has one where its folder has ``picture.py``, with ``picture`` and ``OUTPUT``, the output that it needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from diffprog import tasks
from diffprog.drawing.shown import Picture, Shown
from diffprog.records.cells import Record
from diffprog.report import arrays


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


def draw(folder: Path, records: Sequence[Record]) -> dict[str, Figure]:
    """The pictures of all cases whose task has one and whose arrays are there, by file name."""
    drawn: dict[str, Figure] = {}
    for case, members in arrays.by_case(records).items():
        own, given = tasks.part(case.task, "picture"), arrays.inputs(folder, case)
        if own is None or given is None:
            continue
        picture: Picture = own.picture
        shown = one_each(folder, members, own.OUTPUT)
        figure = picture(case, given, shown) if shown else None
        if figure is not None:
            drawn[case.key] = figure
    return drawn
