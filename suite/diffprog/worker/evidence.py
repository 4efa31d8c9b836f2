"""What a worker finds out about its own answers: finite differences, identities, and of a user's model more besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from diffprog.backends.base import Prepared
from diffprog.declaration import Task
from diffprog.measure import evidence
from diffprog.records import protocol
from diffprog.spec import Array, Arrays


@dataclass
class Evidence:
    """One cell and what its answers are looked at with.

    Attributes:
        theta: the parameters (P,), float64.
        directions: unit vectors of the host's (k, P).
        double: whether the cell is of float64.
    """

    cell: Prepared
    task: Task
    config: Any
    operator: str
    theta: Array
    directions: Array
    double: bool

    @property
    def of_a_user(self) -> bool:
        return self.task.folder is not None

    def found(self, arrays: Arrays, count: int) -> dict[str, Any]:
        """The fields of the answer that are evidence; ``count`` directions are checked by finite differences."""
        difference, bound = self.differences(arrays, count)
        identity, identity_bound = self.identity(arrays)
        value_noise, noise = self.rounding(arrays)
        wrong = difference is not None and bound is not None and difference > bound
        return {
            "finite_differences": difference,
            "finite_differences_tolerance": bound,
            "identity": identity,
            "identity_tolerance": identity_bound,
            "noise": noise,
            "value_noise": value_noise,
            "undetermined": self.undetermined(arrays),
            "off_blocks": self.off_blocks(arrays) if wrong else {},
        }

    def nearby(self) -> Array:
        """A direction (P,) along which a step of 0.1 is not far: a user's parameters may be of any unit."""
        found: Array = self.directions[0]
        if self.of_a_user and self.operator != "jvp":
            found = found * evidence.units_of(self.task.layout(self.config), self.theta)
        return found

    def differences(self, arrays: Arrays, count: int) -> evidence.Found:
        """The derivative against differences of the cell's own value or gradient, along the host's directions."""
        if self.operator == "value":
            return None, None
        layout, kinks = self.task.layout(self.config), self.task.kinks(self.config)
        units = evidence.units_of(layout, self.theta) if self.of_a_user else None
        return evidence.differences(
            self.cell, self.operator, self.theta, arrays[self.operator], self.directions[:count], kinks, units
        )

    def off_blocks(self, arrays: Arrays) -> dict[str, float]:
        """How far each parameter's part of a user's gradient is from finite differences."""
        layout = self.task.layout(self.config)
        if not self.of_a_user or self.operator != "gradient" or len(layout.blocks) < 2:
            return {}
        found = evidence.blocks(self.cell, self.theta, arrays["gradient"], layout)
        return {name: error for name, (error, _) in found.items()}

    def identity(self, arrays: Arrays) -> evidence.Found:
        """The adjoint identity of a jvp with the backend's own gradient."""
        if self.operator != "jvp":
            return None, None
        return evidence.identity(self.cell, self.theta, self.directions[0], arrays["jvp"], self.task.tolerance)

    def undetermined(self, arrays: Arrays) -> float | None:
        """By how much calls of a user's loss differ: a fresh one, and the one within the derivative."""
        if not self.of_a_user or not np.isfinite(arrays["value"]):
            return None
        calls = [float(arrays["value"]), float(self.cell.fetch_value(self.cell.value()))]
        if protocol.VALUE_ALONE in arrays:
            calls.append(float(arrays[protocol.VALUE_ALONE]))
        return evidence.undetermined(calls)

    def rounding(self, arrays: Arrays) -> tuple[float | None, float | None]:
        """How far a user's value and gradient move when every parameter moves by a unit in the last place."""
        if not self.of_a_user or not self.double or not np.isfinite(arrays["value"]):
            return None, None
        slope = arrays["gradient"] if self.operator == "gradient" else None
        return evidence.rounding(self.cell, self.theta, float(arrays["value"]), slope)
