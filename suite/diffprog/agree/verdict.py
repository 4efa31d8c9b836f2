"""Is a cell's answer right? Says ok or disagrees, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from diffprog.agree import errors, granularity
from diffprog.agree.damage import damage, listed_outputs
from diffprog.agree.rounding import ULP, Noise
from diffprog.agree.tolerances import (
    COMPONENT,
    FLOAT32_FLOOR,
    NOISE_FACTOR,
    NOISE_MOST,
    OUTPUT_MOST,
    Yardstick,
    output_tolerance,
    tolerance,
    value_tolerance,
)
from diffprog.declaration import Task
from diffprog.measure.finite_differences import NO_END
from diffprog.records import protocol
from diffprog.records.cells import Agreement, Errors
from diffprog.records.protocol import Result
from diffprog.spec import Array, Arrays, Cell, dtype

__all__ = ["COMPONENT", "FLOAT32_FLOOR", "Yardstick", "damage", "judge", "tolerance"]


def judge(
    task: Task, cell: Cell, config: Any, arrays: Arrays, result: Result, yardstick: Yardstick | None
) -> tuple[str, str, Agreement | None]:
    """The outcome (``ok`` or ``disagrees``), its reason, and the figures behind it.

    ``yardstick`` is None for a cell that becomes the reference itself; then only damage, work invariants, closed form
    and finite differences are judged, and whether what was timed gives the same answer.
    """
    outputs = {} if yardstick is None else yardstick.outputs
    leader = yardstick.key.partition("-")[0] if yardstick is not None and not task.by_hand else ""
    reason = damage(task, cell, config, arrays, outputs, leader)
    if reason:
        return "disagrees", reason, None
    derivative = arrays.get(cell.operator) if cell.operator != "value" else None
    itself = yardstick
    if itself is None and derivative is not None:
        itself = Yardstick("itself", float(arrays["value"]), derivative)
    if itself is None:
        return "ok", "", None
    return _Judgement(task, cell, config, arrays, result, itself).verdict()


LISTED = 8
"""So many parameters are named in a sentence; of more, how many there are."""
CONVERGED = 1e-3
"""Finite differences of a user's model that are less sure than this are no evidence."""
DETERMINED = {"float64": 1e-9, "float32": 1e-3}
"""By how much two calls with the same inputs may differ, over max(1, |L|): sums may be taken in another order."""


class _Judgement:
    """One cell held against its yardstick. Errors that are too large are looked at again in the light of noise."""

    def __init__(
        self, task: Task, cell: Cell, config: Any, arrays: Arrays, result: Result, yardstick: Yardstick
    ) -> None:
        self.task, self.cell, self.config, self.result = task, cell, config, result
        self.arrays, self.yardstick = arrays, yardstick
        self.double = cell.precision == "float64"
        self._determined = DETERMINED[dtype(cell.precision)]
        self.layout = task.layout(config) if cell.operator != "jvp" else None
        method = yardstick.approximation
        # The reference may be judged by itself: then it has no approximation.
        self.value = yardstick.value if method is None else method.value
        self.derivative = yardstick.derivative if method is None else method.gradient
        self.outputs = yardstick.outputs if method is None else method.outputs
        self.scale = yardstick.scale
        self.reasons: list[str] = []
        self._noise: Noise | None = None

    def noise(self) -> Noise:
        if self._noise is None:
            given = self.yardstick.noise
            self._noise = Noise() if given is None else given()
        return self._noise

    def held(self, error: float, base: float, noise: Callable[[Noise], float]) -> float:
        """What an error is held to: ``base``, or where that is not enough what rounding does to this very case."""
        if error <= base or not self.double:
            return base
        return max(base, min(NOISE_FACTOR * noise(self.noise()), NOISE_MOST))

    def verdict(self) -> tuple[str, str, Agreement]:
        self._work()
        value, value_allowed = self._value("value", "value")
        alone = None
        if protocol.VALUE_ALONE in self.arrays:
            alone, _ = self._value(protocol.VALUE_ALONE, "value that is timed")
        found, allowed = self._derivative(self.cell.operator, f"the {self.cell.operator}")
        method = self._method()
        exact = self._exact(allowed + (method or 0.0))
        self._after_sampling()
        outputs = dict(self._outputs())
        self._evidence()
        own = self.yardstick.float32_error
        agreement = Agreement(
            reference="itself" if self.yardstick.key == self.cell.key else self.yardstick.key,
            value=value,
            value_alone=alone,
            value_tolerance=value_allowed,
            gradient=found,
            own_float32=_over(found, own) if self.cell.precision == "float32" else None,
            tolerance=allowed,
            approximation=method,
            outputs=outputs,
            closed_form=exact,
            finite_differences=self.result.finite_differences,
            finite_differences_tolerance=self.result.finite_differences_tolerance,
            identity=self.result.identity,
            identity_tolerance=self.result.identity_tolerance,
            noise=self.result.noise,
            value_noise=self.result.value_noise,
            zero_blocks=self._zero_blocks(),
        )
        return ("disagrees" if self.reasons else "ok"), "; ".join(self.reasons), agreement

    def _work(self) -> None:
        work = self.task.work(self.config)
        if self.cell.method in self.task.adaptive:
            work = {"parameters": work["parameters"]}
        for name, demanded in work.items():
            if self.result.invariants.get(name) != demanded:
                found = self.result.invariants.get(name)
                self.reasons.append(f"work invariant {name} is {found} where the task demands {demanded}")

    def _value(self, name: str, called: str) -> tuple[float, float]:
        found = float(self.arrays[name])
        error = errors.of_value(found, self.value)
        base = value_tolerance(self.task, self.cell, self.yardstick)
        allowed = self.held(error, base, lambda noise: noise.value)
        if not error <= allowed:
            self.reasons.append(f"the {called} is off by {error:.2e} (at most {allowed:.1e})")
        else:
            self._granular(np.asarray([found]), np.asarray([self.value]), f"the {called}", max(1.0, abs(self.value)))
        return error, allowed

    def _derivative(self, name: str, called: str) -> tuple[Errors | None, float]:
        """Of the cell's derivative, or of what it was after sampling; None for a value."""
        base = tolerance(self.task, self.cell, self.config, self.yardstick)
        if self.cell.operator == "value":
            return None, base
        x, y = self.arrays[name].reshape(-1), self.derivative.reshape(-1)
        found = errors.compare(x, y, self.layout, self.scale)
        error = found.relative_l2 or 0.0
        allowed = self.held(error, base, lambda noise: noise.derivative)
        plain = self.task.tolerance_of(self.config, self.cell.operator)
        # A method that approximates is allowed more than the task's own tolerance, and so is an ill-conditioned case.
        strict = self.double and self.cell.operator != "jvp" and allowed <= plain
        if not error <= allowed:
            where = f", worst at {found.worst_name}" if found.worst_name else ""
            named = self._blocks(x, y, allowed)
            self.reasons.append(f"{called} is off by {error:.2e} in relative L2 (at most {allowed:.1e}){where}{named}")
        elif strict and found.component is not None and found.component > COMPONENT:
            self.reasons.append(
                f"{found.component_name} of {called} is off by {found.component:.2e} of itself "
                f"(at most {COMPONENT:.1e})"
            )
        self._granular(x, y, called, self.scale)
        return found, allowed

    def _granular(self, x: Array, y: Array, called: str, scale: float | None = None) -> None:
        """Names what was rounded to float32 in a float64 cell."""
        if not self.double:
            return
        hits = granularity.rounded(x.astype(np.float64), y.astype(np.float64), scale)
        if hits.size:
            named = self.layout is not None and self.layout.size == x.size > 1
            where = f", the first of them {self.layout.name_of(int(hits[0]))}" if named and self.layout else ""
            many = f"{hits.size} of {x.size} components of {called} have" if x.size > 1 else f"{called} has"
            self.reasons.append(f"{many} the granularity of float32{where}: rounded to it on the way")

    def _method(self) -> float | None:
        """How far the method's own answer is from the reference's, where it approximates."""
        method = self.yardstick.approximation
        if method is None or self.cell.operator == "value":
            return None
        away = errors.relative(method.gradient, self.yardstick.derivative)
        if not away <= method.distance:
            self.reasons.append(
                f"the method itself is off by {away:.2e} from the reference's (at most {method.distance:.1e})"
            )
        return away

    def _exact(self, allowed: float) -> Errors | None:
        exact = self.yardstick.exact
        if exact is None or self.cell.operator != "gradient":
            return None
        found = errors.compare(self.arrays["gradient"], exact[1], self.layout)
        if found.relative_l2 is not None and not found.relative_l2 <= allowed:
            self.reasons.append(
                f"the gradient is {found.relative_l2:.2e} from the closed form (at most {allowed:.1e}), "
                f"worst at {found.worst_name}"
            )
        return found

    def _after_sampling(self) -> None:
        """What the timed functions gave once more; only what is not bit for bit what was checked before is there."""
        for name in self.arrays:
            if name.startswith(protocol.AFTER):
                run = name.removeprefix(protocol.AFTER).removesuffix(protocol.ITS_VALUE)
                called = f"after sampling, what was timed as {run!r} no longer gives the answer: "
                before = len(self.reasons)
                if protocol.is_derivative(name):
                    self._derivative(name, f"the {self.cell.operator}")
                else:
                    self._value(name, "value")
                self.reasons[before:] = [called + reason for reason in self.reasons[before:]]

    def _outputs(self) -> Iterator[tuple[str, float]]:
        for name in listed_outputs(self.task, self.arrays):
            if name not in self.outputs:
                continue  # of the reference itself, or of one whose arrays are gone
            x, y = self.arrays[name], self.outputs[name]
            error = errors.of_output(x, y)
            allowed = output_tolerance(self.task, self.cell, self.config, self.yardstick, name)
            if not error <= allowed:  # an output may be worse conditioned than the loss
                ulps = float(np.finfo(dtype(self.cell.precision)).eps) / ULP
                allowed = max(allowed, min(NOISE_FACTOR * ulps * self.noise().outputs.get(name, 0.0), OUTPUT_MOST))
            if not error <= allowed:
                self.reasons.append(f"the output {name} is off by {error:.2e} (at most {allowed:.1e})")
            else:
                self._granular(np.ravel(x), np.ravel(y), f"the output {name}")
            yield name, error

    def _zero_blocks(self) -> tuple[str, ...]:
        """Parameters whose gradient is zero throughout: it may be so, and may be a mistake."""
        if self.task.by_hand or self.layout is None or self.cell.operator != "gradient":
            return ()
        parts = self.layout.split(self.arrays["gradient"])
        return tuple(name for name, part in parts.items() if not np.any(part))

    def _blocks(self, x: Array, y: Array, allowed: float) -> str:
        """Which named parameters differ and which do not, where a user's model has several."""
        if self.task.by_hand or self.layout is None or len(self.layout.blocks) < 2 or x.size != self.layout.size:
            return ""
        ours, theirs = self.layout.split(x), self.layout.split(y)
        return _listed({name: errors.relative(ours[name], theirs[name], self.scale) for name in ours}, allowed)

    def _evidence(self) -> None:
        result = self.result
        if result.undetermined is not None and result.undetermined > self._determined:
            self.reasons.insert(
                0,
                f"not deterministic: two calls of loss with the same inputs differ by {result.undetermined:.1e}; "
                + ("draw random numbers in task.py" if self.task.folder else "give it random numbers as data"),
            )
        difference, bound = result.finite_differences, result.finite_differences_tolerance
        if not self.task.by_hand and bound is not None and bound > CONVERGED:
            self.reasons.append(
                "finite differences cannot be had here: near these parameters the loss is not finite"
                if bound >= NO_END
                else f"finite differences do not converge here (they are sure to {bound:.0e}): the loss has kinks, "
                "steps or noise"
            )
        if difference is not None and bound is not None and difference > bound:
            named = _listed(result.off_blocks, bound)
            self.reasons.append(f"finite differences are off by {difference:.2e} (at most {bound:.1e}){named}")
        broken, bound = result.identity, result.identity_tolerance or 0.0
        if broken is not None and broken > bound:
            self.reasons.append(f"the adjoint identity is broken by {broken:.2e} (at most {bound:.1e})")


def _listed(off: Mapping[str, float], allowed: float) -> str:
    """Which of several errors, by parameter, are beyond what is allowed, and which are not; empty if none is."""
    wrong = [f"{name} ({error:.2e})" for name, error in off.items() if not error <= allowed]
    right = [name for name, error in off.items() if error <= allowed]
    if len(right) > LISTED:
        right = [f"the other {len(right)}"]
    if len(wrong) > LISTED:
        wrong = [*wrong[:LISTED], f"{len(wrong) - LISTED} more"]
    return f": {', '.join(wrong)}" + (f" differ, {', '.join(right)} not" if right else " differ") if wrong else ""


def _over(found: Errors | None, own: float | None) -> float | None:
    """A float32 error in units of the reference's own."""
    return found.relative_l2 / own if found is not None and found.relative_l2 is not None and own else None
