"""Is a cell's answer right? Says ok or disagrees, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.agree import errors
from suite.measure.protocol import Result
from suite.records import Agreement, Errors
from suite.spec import Array, Arrays, Cell, Task, dtype

FLOAT32_EPS = float(np.finfo(np.float32).eps)
FLOAT32_FACTOR = 10
"""A float32 gradient may be this many times as far from the float64 reference as the reference's own float32 one."""
FLOAT32_FLOOR = 64 * FLOAT32_EPS
"""And need not be nearer than this: the reference may be lucky."""
FLOAT32_REFERENCE = 1e4 * FLOAT32_EPS
"""The reference's own float32 gradient is held to this."""
TF32_FACTOR = 2**13
"""TF32 rounds the factors of a product to 11 bits where float32 has 24: errors may be as many times larger."""
TF32_MOST = 0.1
"""But no larger than this: then it is no answer, however ill-conditioned the case."""


COMPONENT = 1e-7
"""The relative error that one component of a float64 gradient may have; see ``errors.compare``. The norm alone would
let a small component be wrong altogether. Not asked where the method itself approximates."""


@dataclass(frozen=True)
class Yardstick:
    """What the cells of one case and operator are judged by.

    Attributes:
        key: the reference cell's key.
        value: its float64 value.
        derivative: its float64 gradient or hvp, shape (P,), or jvp, shape ().
        scale: what errors are relative to, where it is not the derivative's own norm: ‖g‖ for a jvp, which may cancel.
        float32_error: relative L2 error of the reference's own float32 gradient, None until it is known.
        exact: value and gradient in closed form, where there is one.
    """

    key: str
    value: float
    derivative: Array
    scale: float | None = None
    float32_error: float | None = None
    exact: tuple[float, Array] | None = None


def tolerance(task: Task, cell: Cell, config: Any, yardstick: Yardstick) -> float:
    """The largest relative L2 error that ``cell`` may have: of rounding, or of its method where that is larger."""
    if cell.precision == "float64":
        rounding = task.tolerances.get(cell.operator, task.tolerance)
    elif yardstick.float32_error is None:
        rounding = FLOAT32_REFERENCE
    else:
        rounding = max(FLOAT32_FACTOR * yardstick.float32_error, FLOAT32_FLOOR, task.float32_floor)
    if cell.precision == "tf32":
        rounding = min(TF32_FACTOR * rounding, TF32_MOST)
    return max(rounding, task.approximation(config, cell.method, cell.precision))


def damage(task: Task, cell: Cell, config: Any, arrays: Arrays) -> str:
    """Why the arrays cannot be an answer at all, or an empty string: dtype, shape, NaN, Inf."""
    if not np.isfinite(arrays["value"]):
        return f"the value is {float(arrays['value'])}"
    if cell.operator == "value":
        return ""
    found, layout, name = arrays[cell.operator], task.layout(config), cell.operator
    expected = () if name == "jvp" else (layout.size,)
    if found.shape != expected:
        return f"the {name} has shape {found.shape}, not {expected}"
    if found.dtype != dtype(cell.precision):
        return f"the {name} is {found.dtype}, not {dtype(cell.precision)}"
    wrong = np.flatnonzero(~np.isfinite(found))
    if wrong.size and name == "jvp":
        return f"the jvp is {float(found)}"
    if wrong.size:
        first = layout.name_of(int(wrong[0]))
        return f"{wrong.size} of {layout.size} {name} components are not finite, the first is {first}"
    return ""


def judge(
    task: Task, cell: Cell, config: Any, arrays: Arrays, result: Result, yardstick: Yardstick | None
) -> tuple[str, str, Agreement | None]:
    """The outcome (``ok`` or ``disagrees``), its reason, and the figures behind it.

    ``yardstick`` is None for a cell that becomes the reference itself; then only damage, work invariants, closed form
    and finite differences are judged.
    """
    reason = damage(task, cell, config, arrays)
    if reason:
        return "disagrees", reason, None
    value = float(arrays["value"])
    derivative = arrays.get(cell.operator) if cell.operator != "value" else None
    itself = Yardstick("itself", value, derivative) if yardstick is None and derivative is not None else yardstick
    if itself is None:
        return "ok", "", None
    allowed = tolerance(task, cell, config, itself)
    value_error = errors.of_value(value, itself.value)
    found, from_exact = None, None
    if derivative is not None:
        layout = task.layout(config) if cell.operator != "jvp" else None
        found = errors.compare(derivative.reshape(-1), itself.derivative.reshape(-1), layout, itself.scale)
    if itself.exact is not None and cell.operator == "gradient" and derivative is not None:
        from_exact = errors.compare(derivative, itself.exact[1], task.layout(config))
    agreement = Agreement(
        reference="itself" if itself.key == cell.key else itself.key,
        value=value_error,
        gradient=found,
        own_float32=_over(found, itself) if cell.precision == "float32" else None,
        tolerance=allowed,
        closed_form=from_exact,
        finite_differences=result.finite_differences,
        finite_differences_tolerance=result.finite_differences_tolerance,
        identity=result.identity,
        identity_tolerance=result.identity_tolerance,
    )
    work = task.work(config)
    if cell.method in task.adaptive:
        work = {"parameters": work["parameters"]}
    # A method that approximates is allowed more than the task's own tolerance.
    strict = cell.operator == "gradient" and cell.precision == "float64" and allowed <= task.tolerance
    return _verdict(work, cell.operator, result, agreement, COMPONENT if strict else np.inf)


def _over(found: Errors | None, yardstick: Yardstick) -> float | None:
    """A float32 error in units of the reference's own."""
    own = yardstick.float32_error
    return found.relative_l2 / own if found is not None and found.relative_l2 is not None and own else None


def _verdict(
    work: dict[str, int], operator: str, result: Result, agreement: Agreement, component: float
) -> tuple[str, str, Agreement]:
    allowed, found, exact = agreement.tolerance, agreement.gradient, agreement.closed_form
    reasons = [
        f"work invariant {name} is {result.invariants.get(name)} where the task demands {demanded}"
        for name, demanded in work.items()
        if result.invariants.get(name) != demanded
    ]
    if agreement.value is not None and agreement.value > allowed:
        reasons.append(f"the value is off by {agreement.value:.2e} (at most {allowed:.1e})")
    if found is not None and found.relative_l2 is not None and found.relative_l2 > allowed:
        reasons.append(
            f"the {operator} is off by {found.relative_l2:.2e} in relative L2 (at most {allowed:.1e})"
            + (f", worst at {found.worst_name}" if found.worst_name else "")
        )
    elif found is not None and found.component is not None and found.component > component:
        reasons.append(f"{found.component_name} is off by {found.component:.2e} of itself (at most {component:.1e})")
    if exact is not None and exact.relative_l2 is not None and exact.relative_l2 > allowed:
        reasons.append(
            f"the gradient is {exact.relative_l2:.2e} from the closed form (at most {allowed:.1e}), "
            f"worst at {exact.worst_name}"
        )
    difference, bound = agreement.finite_differences, agreement.finite_differences_tolerance
    if difference is not None and bound is not None and difference > bound:
        reasons.append(f"finite differences are off by {difference:.2e} (at most {bound:.1e})")
    if agreement.identity is not None and agreement.identity > (agreement.identity_tolerance or 0):
        reasons.append(
            f"the adjoint identity is broken by {agreement.identity:.2e} (at most {agreement.identity_tolerance:.1e})"
        )
    return ("disagrees" if reasons else "ok"), "; ".join(reasons), agreement
