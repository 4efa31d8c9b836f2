"""How far one gradient is from another."""

from __future__ import annotations

import numpy as np

from diffprog.measure.norms import norm
from diffprog.records.cells import Errors
from diffprog.spec import Array, Layout

SMALL = 1e-5
"""Of the norm: a smaller component counts as that large, or rounding of the large ones would be held against it."""


def compare(x: Array, y: Array, layout: Layout | None = None, scale: float | None = None) -> Errors:
    """The errors of ``x`` against ``y``, both finite and of shape (P,).

    ``relative_l2`` is ‖x − y‖/‖y‖ (the absolute error where y = 0), or ‖x − y‖/``scale`` where that is given,
    ``max_rho`` the largest ρ = |x − y|/max(1, |x| + |y|), ``cosine`` x·y/(‖x‖‖y‖) (1 where both vanish),
    ``component`` the largest |x − y|/max(|y|, `SMALL` ‖y‖).
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    difference, norm_x, norm_y = norm(x - y), norm(x), norm(y)
    rho = np.abs(x - y) / np.maximum(1, np.abs(x) + np.abs(y))
    worst = int(rho.argmax()) if rho.size else 0
    relative = np.abs(x - y) / (np.maximum(np.abs(y), SMALL * norm_y) if norm_y else 1.0)
    off = int(relative.argmax()) if relative.size else 0
    named = layout is not None and rho.size > 0
    return Errors(
        relative_l2=difference / (scale or norm_y or 1.0),
        max_rho=float(rho.max(initial=0.0)),
        cosine=float((x / norm_x) @ (y / norm_y)) if norm_x and norm_y else float(norm_x == norm_y),
        worst=worst,
        worst_name=layout.name_of(worst) if layout is not None and named else "",
        component=float(relative.max(initial=0.0)),
        component_name=layout.name_of(off) if layout is not None and named else "",
    )


def relative(x: Array, y: Array, scale: float | None = None) -> float:
    """‖x − y‖ over ‖y‖ (over 1 where that is zero), or over ``scale``; of arrays of one shape."""
    return norm(np.ravel(x) - np.ravel(y)) / (scale or norm(y) or 1.0)


def of_output(x: Array, y: Array) -> float:
    """An output's error: a scalar's is a value's, else ‖x − y‖/‖y‖."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return of_value(float(x), float(y)) if y.ndim == 0 else relative(x, y)


def of_value(x: float, y: float) -> float:
    """|x − y| / max(1, |y|)."""
    return abs(x - y) / max(1.0, abs(y))
