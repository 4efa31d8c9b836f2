"""What a worker finds out about its own answers: finite differences, identities, and of a user's model more besides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from diffprog.backends.base import Prepared
from diffprog.measure import finite_differences
from diffprog.records import protocol
from diffprog.spec import Array, Arrays, Task

IDENTITY = 450
"""Roundings that the two sides of the adjoint identity may differ by, at least: 1e-13 in float64."""
IDENTITY_SHARE = 1e-3
"""And a task's tolerance times this, where its condition number loses more digits."""
Bounded = tuple[float | None, float | None]
"""An error, and what it may be at most; None where it was not asked for."""


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

    def differences(self, arrays: Arrays, count: int) -> Bounded:
        """The derivative against differences of the cell's own value or gradient, along the host's directions."""
        if not count or self.operator == "value" or not np.isfinite(arrays[self.operator]).all():
            return None, None
        floor, cell, theta = max(finite_differences.ROUNDING, self.task.kinks(self.config)), self.cell, self.theta
        if self.operator == "gradient":
            return finite_differences.check(
                self.value_in_units,
                theta / self.units,
                arrays["gradient"] * self.units,
                self.directions[:count],
                floor,
                self.steps(),
            )
        direction = self.directions[0]
        reach = float(np.min(self.units)) / max(float(np.max(np.abs(direction))), np.finfo(float).tiny)
        of_value = self.operator == "jvp"
        function, scale = (cell.value_at, cell.gradient_at(theta)) if of_value else (cell.gradient_at, arrays["hvp"])
        return finite_differences.check_along(
            function,
            theta,
            arrays[self.operator],
            direction,
            float(np.linalg.norm(scale)),
            floor,
            self.steps(reach),
        )

    @cached_property
    def units(self) -> Array:
        """By how much parameters are changed (P,): a user's may be of any unit, so by the size of each one's array."""
        if not self.of_a_user:
            return np.ones(self.theta.shape)
        parts = self.task.layout(self.config).split(self.theta).values()
        sizes = [float(np.sqrt(np.mean(part**2))) for part in parts]
        return np.concatenate([np.full(part.size, size or 1.0) for part, size in zip(parts, sizes, strict=True)])

    def value_in_units(self, x: Array) -> float:
        """The value, of the parameters in these units."""
        return self.cell.value_at(x * self.units)

    def steps(self, reach: float = 1.0) -> finite_differences.Steps:
        return finite_differences.steps_for_any(reach) if self.of_a_user else finite_differences.STEPS

    def off_blocks(self, arrays: Arrays) -> dict[str, float]:
        """How far each parameter's part of a user's gradient is from finite differences, as in `differences`."""
        layout = self.task.layout(self.config)
        if not self.of_a_user or self.operator != "gradient" or len(layout.blocks) < 2:
            return {}
        gradient, start, off = arrays["gradient"] * self.units, 0, {}
        for block in layout.blocks:
            direction = np.zeros(self.theta.shape)
            direction[start : start + block.size] = np.random.default_rng(start).standard_normal(block.size)
            direction /= np.linalg.norm(direction)
            off[block.name], _ = finite_differences.check_along(
                self.value_in_units,
                self.theta / self.units,
                gradient @ direction,
                direction,
                float(np.linalg.norm(gradient)),
                steps=self.steps(),
            )
            start += block.size
        return off

    def identity(self, arrays: Arrays) -> Bounded:
        """The adjoint identity ⟨1, J v⟩ = ⟨Jᵀ 1, v⟩ of a jvp with the backend's own gradient, relative to ‖g‖."""
        if self.operator != "jvp" or not np.isfinite(arrays["jvp"]).all():
            return None, None
        gradient = self.cell.gradient_at(self.theta).astype(np.float64)
        direction = self.directions[0].astype(arrays["jvp"].dtype).astype(np.float64)
        error = abs(float(arrays["jvp"]) - float(gradient @ direction)) / (float(np.linalg.norm(gradient)) or 1.0)
        eps = float(np.finfo(arrays["jvp"].dtype).eps)
        allowed = IDENTITY * eps
        return error, max(allowed, IDENTITY_SHARE * self.task.tolerance) if eps < 1e-12 else allowed

    def undetermined(self, arrays: Arrays) -> float | None:
        """By how much two calls of a user's loss differ: a fresh one, and the one within the derivative."""
        if not self.of_a_user or not np.isfinite(arrays["value"]):
            return None
        calls = [float(arrays["value"]), float(self.cell.fetch_value(self.cell.value()))]
        if protocol.VALUE_ALONE in arrays:
            calls.append(float(arrays[protocol.VALUE_ALONE]))
        found = (max(calls) - min(calls)) / max(1.0, abs(calls[0]))
        return found if np.isfinite(found) else None

    def rounding(self, arrays: Arrays) -> tuple[float | None, float | None]:
        """How far a user's value and gradient move when every parameter moves by a unit in the last place."""
        if not self.of_a_user or not self.double or not np.isfinite(arrays["value"]):
            return None, None
        theta, cell, value = self.theta, self.cell, float(arrays["value"])
        slope = arrays["gradient"] if self.operator == "gradient" else None
        values, slopes = [0.0], [0.0]
        for k in range(3):
            moved = theta * (1 + np.finfo(np.float64).eps * np.random.default_rng(k).choice([-1.0, 1.0], theta.shape))
            values.append(abs(cell.value_at(moved) - value) / max(1.0, abs(value)))
            if slope is not None:
                norm = float(np.linalg.norm(slope)) or 1.0
                slopes.append(float(np.linalg.norm(cell.gradient_at(moved) - slope)) / norm)
        return max(values), max(slopes)
