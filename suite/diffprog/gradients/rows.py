"""What was found of each function by each operator, and of all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from diffprog.records.cells import Agreement
from diffprog.spec import Arrays


@dataclass(frozen=True)
class Row:
    """One function by one operator.

    Attributes:
        backend: numpy, torch, jax or julia.
        operator: gradient, jvp, hvp; value, of a function of NumPy without a gradient.
        engine: what differentiates.
        outcome: ok, disagrees, error, unsupported, unavailable, timed_out or out_of_memory.
        reason: why it is not ok.
        mend: the command that would change that, if there is one.
        value: L; None where there is none.
        derivative: by parameter name, of the parameters' shapes; of a jvp ``{"jvp": ...}``.
        errors: of the derivative against the yardstick's by parameter name, relative L2; empty where there is no
            yardstick, and of the yardstick itself.
        agreement: the figures of the verdict.
        optional: whether it may be unavailable.
        cause: the exception behind an ``error``.
    """

    backend: str
    operator: str
    engine: str
    outcome: str
    reason: str = ""
    mend: str = ""
    value: float | None = None
    derivative: Arrays = field(default_factory=dict, repr=False)
    errors: Mapping[str, float] = field(default_factory=dict, repr=False)
    agreement: Agreement | None = field(default=None, repr=False)
    optional: bool = False
    cause: BaseException | None = field(default=None, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether it was compared and is right; or may be, and is, unavailable."""
        return self.outcome == "ok" or (self.optional and self.outcome == "unavailable")

    @property
    def is_yardstick(self) -> bool:
        """Whether the others are judged by it."""
        return self.outcome == "ok" and self.agreement is not None and self.agreement.reference == "itself"


@dataclass(frozen=True)
class Rows:
    """All of a comparison.

    Attributes:
        rows: of every function by every operator.
        precision: float64 or float32.
        shapes: of the parameters, by name.
        notes: what else is worth a line.
    """

    rows: tuple[Row, ...]
    precision: str
    shapes: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every function that was given was compared and is right."""
        return all(row.ok for row in self.rows)
