"""What was learned, one picture a task: samples, levels, digits, and the free energy across the transition.

A task has one where its folder has ``learned.py``, with ``picture``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from diffprog import tasks
from diffprog.drawing.learned import Learned, Picture
from diffprog.models.loading import Fault
from diffprog.records.fits import FitRecord, inputs_file
from diffprog.report import arrays, own
from diffprog.spec import Case


def best(folder: Path, fits: Sequence[FitRecord]) -> list[Learned]:
    """Of each backend the finished state with the lowest final loss; of a minimax, where it says nothing, the first."""
    found: dict[str, Learned] = {}

    def rank(fit: FitRecord) -> float:
        return 0.0 if fit.ascend else float("inf") if fit.final_loss is None else fit.final_loss

    for fit in sorted(fits, key=rank):
        if fit.backend not in found and fit.outcome in ("ok", "disagrees"):
            state = arrays.read(folder / fit.arrays)
            if state is not None and len(state) > 2:  # more than θ and the curve: it was not cut short
                found[fit.backend] = Learned(fit, state)
    order = list(dict.fromkeys(fit.backend for fit in fits))
    return sorted(found.values(), key=lambda one: order.index(one.fit.backend))


def draw(folder: Path, case: Case, fits: Sequence[FitRecord]) -> tuple[Figure | None, str]:
    """The picture of a fitted case and its caption; None where there is nothing to show.

    Raises:
        Fault: if a user's gives none; and whatever is raised in it.
    """
    made = tasks.part(case.task, "learned")
    inputs, learned = arrays.read(folder / inputs_file(case)), best(folder, fits)
    if made is None or inputs is None or not learned:
        return None, ""
    if own.folder(case.task) is None:
        picture: Picture = made.picture
        return picture(case, inputs, learned)
    found = own.function(case.task, made, "case, inputs, learned")(case, own.with_names(case, inputs), learned)
    figure, caption = found if isinstance(found, tuple) and len(found) == 2 else (found, "what was learned.")
    if figure is not None and not isinstance(figure, Figure):
        raise Fault(f"{made.__file__}: picture returns a {type(figure).__name__}; it must return a matplotlib Figure")
    return figure, str(caption)
