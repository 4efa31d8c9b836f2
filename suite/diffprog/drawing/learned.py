"""What a task's picture of a fit is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from diffprog.records.fits import FitRecord
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
"""``picture`` of a task's ``learned.py``: from the case, its inputs and a state a backend, with a caption."""
