"""What was learned, one picture a task: samples, levels, digits, and the free energy across the transition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from diffprog.records.fits import FitRecord, inputs_file
from diffprog.report import arrays
from diffprog.spec import Arrays, Case


@dataclass(frozen=True)
class Learned:
    """The best state of one backend: ``theta``, ``losses`` and the task's outputs there."""

    fit: FitRecord
    arrays: Arrays

    @property
    def name(self) -> str:
        return f"{self.fit.backend}, {'Adam' if self.fit.optimiser == 'adam' else 'L-BFGS'}"


Picture = Callable[[Case, Arrays, Sequence[Learned]], tuple[Figure | None, str]]


def best(folder: Path, fits: Sequence[FitRecord]) -> list[Learned]:
    """Of each backend the finished state with the lowest final loss."""
    found: dict[str, Learned] = {}
    for fit in sorted(fits, key=lambda fit: fit.final_loss if fit.final_loss is not None else float("inf")):
        if fit.backend not in found and fit.outcome in ("ok", "disagrees"):
            state = arrays.read(folder / fit.arrays)
            if state is not None and len(state) > 2:  # more than θ and the curve: it was not cut short
                found[fit.backend] = Learned(fit, state)
    order = list(dict.fromkeys(fit.backend for fit in fits))
    return sorted(found.values(), key=lambda one: order.index(one.fit.backend))


def draw(folder: Path, case: Case, fits: Sequence[FitRecord]) -> tuple[Figure | None, str]:
    """The picture of a fitted case and its caption; None where there is nothing to show."""
    from diffprog.tasks.eigensolver import learned as learned_eigensolver
    from diffprog.tasks.flow import learned as learned_flow
    from diffprog.tasks.qcbm import learned as learned_qcbm
    from diffprog.tasks.trg import learned as learned_trg

    pictures: dict[str, Picture] = {
        "flow": learned_flow.picture,
        "eigensolver": learned_eigensolver.picture,
        "qcbm": learned_qcbm.picture,
        "trg": learned_trg.picture,
    }
    inputs, learned = arrays.read(folder / inputs_file(case)), best(folder, fits)
    if inputs is None or not learned or case.task not in pictures:
        return None, ""
    return pictures[case.task](case, inputs, learned)
