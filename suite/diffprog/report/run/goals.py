"""What a gradient may cost, as a multiple of the time of the value alone."""

from __future__ import annotations

CHEAP = 5.0
"""A reverse-mode gradient should cost no more than about this many values (the cheap-gradient principle)."""
GOALS = {
    ("qcbm", "adjoint"): 4.0,
    ("trg", "reverse"): 4.0,
    ("flow", "discrete"): 3.0,
    ("eigensolver", "dense"): 3.0,
}
"""By (task, method): where the work that must be done allows less than the general bound."""


def goal(task: str, method: str) -> float:
    """The largest gradient / value that needs no reason."""
    return GOALS.get((task, method), CHEAP)
