"""How far one gradient is from another."""

from __future__ import annotations

import numpy as np

from suite.records import Errors
from suite.spec import Array, Layout


def compare(x: Array, y: Array, layout: Layout | None = None, scale: float | None = None) -> Errors:
    """The errors of ``x`` against ``y``, both finite and of shape (P,).

    ``relative_l2`` is ‖x − y‖/‖y‖ (the absolute error where y = 0), or ‖x − y‖/``scale`` where that is given,
    ``max_rho`` the largest ρ = |x − y|/max(1, |x| + |y|), ``cosine`` x·y/(‖x‖‖y‖) (1 where both vanish).
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    difference, norm_x, norm_y = float(np.linalg.norm(x - y)), float(np.linalg.norm(x)), float(np.linalg.norm(y))
    rho = np.abs(x - y) / np.maximum(1, np.abs(x) + np.abs(y))
    worst = int(rho.argmax()) if rho.size else 0
    both = norm_x * norm_y
    return Errors(
        relative_l2=difference / (scale or norm_y or 1.0),
        max_rho=float(rho.max(initial=0.0)),
        cosine=float(x @ y / both) if both else float(norm_x == norm_y),
        worst=worst,
        worst_name=layout.name_of(worst) if layout is not None and rho.size else "",
    )


def of_value(x: float, y: float) -> float:
    """|x − y| / max(1, |y|)."""
    return abs(x - y) / max(1.0, abs(y))
