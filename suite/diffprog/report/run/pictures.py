"""One picture a case that shows its physics, from the arrays that the cells returned.

A task has one where its folder has ``picture.py``, with ``picture`` and ``OUTPUT``, the output that it needs. A user's
may leave the latter out: then it is given every backend that computed something.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from diffprog import tasks
from diffprog.drawing import style
from diffprog.drawing.shown import Shown
from diffprog.models.loading import Fault
from diffprog.records.cells import Record
from diffprog.report import arrays, own
from diffprog.spec import Case


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


def save(folder: Path, records: Sequence[Record], told: list[str]) -> dict[str, Path]:
    """Draws the pictures of all cases into ``figures``; the PNG files by name. ``told`` gets what fails in a user's."""
    saved: dict[str, Path] = {}
    for case, members in arrays.by_case(records).items():
        path = own.tried(case.task, partial(_saved, folder, case, members), told)
        if path is not None:
            saved[case.key] = path
    return saved


def _saved(folder: Path, case: Case, records: Sequence[Record]) -> Path | None:
    figure = picture(folder, case, records)
    return None if figure is None else style.save(figure, folder / "figures", case.key)


def picture(folder: Path, case: Case, records: Sequence[Record]) -> Figure | None:
    """The picture of a case from its records; None where its task has none, or its arrays are gone.

    Raises:
        Fault: if a user's gives none; and whatever is raised in it.
    """
    made, given = tasks.part(case.task, "picture"), arrays.inputs(folder, case)
    if made is None or given is None:
        return None
    draw, home = own.function(case.task, made, "case, inputs, shown"), own.folder(case.task)
    output = made.OUTPUT if home is None else getattr(made, "OUTPUT", "value")
    shown = one_each(folder, records, output)
    if not shown:
        if home is not None and one_each(folder, records, "value"):
            raise Fault(f"{made.__file__}: no backend gives the output {output!r}, which OUTPUT names")
        return None
    figure = draw(case, given if home is None else own.with_names(case, given), shown)
    if figure is not None and not isinstance(figure, Figure):
        raise Fault(f"{made.__file__}: picture returns a {type(figure).__name__}; it must return a matplotlib Figure")
    return figure
