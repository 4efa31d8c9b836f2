"""The records of fits: one line of JSON each in ``fits.jsonl``, with the learning curve and the state beside it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from diffprog.records.cells import Provenance
from diffprog.records.lines import Lines
from diffprog.spec import Case

SCHEMA = 1
FILE = "fits.jsonl"
COMPARED = 50
"""The first Adam losses, which must be the same on all backends …"""
TOLERANCE = 1e-8
"""… up to this relative difference."""


class FitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One task fitted by one optimiser on one backend, in float64."""

    schema: int = SCHEMA
    task: str
    variant: str
    size: str
    seed: int
    backend: str
    made_with: str = ""
    method: str
    optimiser: str
    steps: int
    """At most."""
    rate: float
    """Adam's step size; it means nothing to L-BFGS."""
    outcome: str
    """One of ``diffprog.spec.OUTCOMES``, or ``stopped``: by Ctrl-C."""
    reason: str = ""
    mend: str = ""
    message: str = ""
    """Why the optimiser stopped."""
    first_loss: float | None = None
    final_loss: float | None = None
    steps_done: int = 0
    seconds: float | None = None
    evaluations: int | None = None
    """Of value and gradient."""
    reference: str = ""
    """The backend whose first Adam losses these were compared with, or ``itself``."""
    deviation: float | None = None
    """Largest relative difference of the first Adam losses from the reference's."""
    bound: float | None = None
    """The exact lower bound of the loss, where it is known."""
    ascend: tuple[str, ...] = ()
    """Of a minimax the blocks of θ that maximise the loss; all others minimise it. Empty where all do."""
    pace: float | None = None
    """Of a minimax the rate of these blocks over ``rate``; both fall linearly to nothing over the steps."""
    saddle: float | None = None
    """Of a minimax the loss at its solution."""
    curve: str = ""
    """The learning curve, CSV, relative to the report folder."""
    arrays: str = ""
    """The final state, NPZ: ``theta``, ``losses`` and the task's outputs there."""
    provenance: Provenance | None = None
    started: str = ""
    """UTC, ISO 8601."""

    @property
    def case(self) -> Case:
        return Case(self.task, self.variant, self.size, self.seed)

    @property
    def key(self) -> str:
        """A name that is unique within its case and fit for a file."""
        return f"{self.backend}-{self.method}-{self.optimiser}"

    @property
    def name(self) -> str:
        return f"{self.case.key}/{self.key}"


class FitJournal(Lines[FitRecord]):
    """The fits of a report folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / FILE, FitRecord, lambda record: record.name, SCHEMA)


def inputs_file(case: Case) -> str:
    """Where the inputs of a fit lie, relative to the report folder."""
    return f"arrays/{case.key}/fit-inputs.npz"
