"""What a comparison of functions found: a value that prints well, and raises on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from diffprog.gradients import text
from diffprog.gradients.rows import Rows
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
class GradientCheck(Rows):
    """The comparison; `diffprog.check_gradients` makes it. Printed, or at the end of a notebook's cell, it is a table.

    Attributes:
        rows: of every function by every operator.
        precision: float64 or float32.
        shapes: of the parameters, by name.
        notes: what else is worth a line.
    """

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
        return text.plain(self)

    def _repr_html_(self) -> str:
        return text.html(self)
