"""What a comparison of functions found: a value that prints well, and raises on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from diffprog.records.cells import Agreement
from diffprog.spec import Arrays


class GradientMismatch(AssertionError):
    """The functions do not give the same derivatives, or could not be compared; its text is the whole table.

    Attributes:
        result: the comparison.
    """

    def __init__(self, result: GradientCheck) -> None:
        super().__init__(str(result))
        self.result = result

    def __reduce__(self) -> tuple[type[GradientMismatch], tuple[GradientCheck]]:
        return type(self), (self.result,)


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
class GradientCheck:
    """The comparison; `diffprog.check_gradients` makes it. Printed, or at the end of a notebook's cell, it is a table.

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

    def __bool__(self) -> bool:
        return self.ok

    @property
    def gradients(self) -> dict[str, Arrays]:
        """By backend: its gradient by parameter name, in the parameters' shapes."""
        return {row.backend: row.derivative for row in self.rows if row.operator == "gradient" and row.derivative}

    @property
    def errors(self) -> dict[str, Mapping[str, float]]:
        """By backend: the error of its gradient against the yardstick's by parameter name, relative L2."""
        return {row.backend: row.errors for row in self.rows if row.operator == "gradient" and row.errors}

    def raise_for_status(self) -> GradientCheck:
        """Raises GradientMismatch with the whole table, unless all is ok; else returns the comparison itself."""
        __tracebackhide__ = True  # pytest shows the line of the test
        if not self.ok:
            raise GradientMismatch(self) from next((row.cause for row in self.rows if row.cause is not None), None)
        return self

    def __str__(self) -> str:
        from diffprog.gradients import text

        return text.plain(self)

    def _repr_html_(self) -> str:
        from diffprog.gradients import text

        return text.html(self)
