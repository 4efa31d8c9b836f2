"""The options of ``diffprog run`` for a machine whose minutes are counted: ``--budget`` and ``--references``."""

from __future__ import annotations

import re
from collections import Counter

from diffprog.errors import UsageError
from diffprog.run.budget import Budgeted
from diffprog.run.driver import Run

BUDGET = "Stop measuring after this long (`90s`, `8m`, `1h`); what the report needs most comes first."
REFERENCES = "Take the inputs and NumPy's answers to them from this run, instead of computing them here."
CACHE = "Keep what workers compile in this folder, for later runs; first calls are then left out of the tables."
LONGEST = 366 * 24 * 3600.0


def duration(text: str) -> float:
    """Seconds of ``90s``, ``8m``, ``1.5h``.

    Raises:
        UsageError: if it is none, or not between a second and a year.
    """
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smh])", text.strip())
    seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if not 1 <= seconds <= LONGEST:
        raise UsageError(f"a budget is a time such as 90s, 8m or 1.5h, a year at most, not {text!r}")
    return seconds


def left_over(running: Run) -> str:
    """What a budget did not suffice for, by task and size, and how to go on; empty if there is nothing."""
    if not isinstance(running, Budgeted) or not running.left:
        return ""
    sizes = Counter(f"{cell.case.task} {cell.case.size}" for cell in running.left)
    told = ", ".join(f"{name} ({count})" for name, count in sizes.items())
    return (
        f"The budget is spent. Cells that are left, by size: {told}. The same command with --resume goes on with them."
    )
