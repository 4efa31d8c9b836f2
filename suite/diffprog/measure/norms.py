"""Norms of numbers of any size: squares of what is below 1e-154 vanish, and of what is above 1e154 are infinite."""

from __future__ import annotations

import numpy as np

from diffprog.spec import Array

LEAST, MOST = 1e-140, 1e140
"""Between these a sum of squares keeps its digits."""


def norm(x: Array | float) -> float:
    """‖x‖ in L2, of all elements of an array of real numbers."""
    flat = np.ravel(np.asarray(x, np.float64))
    with np.errstate(over="ignore", under="ignore"):
        found = float(np.linalg.norm(flat))
    if LEAST < found < MOST or not flat.size:
        return found
    largest = float(np.abs(flat).max())
    return largest * float(np.linalg.norm(flat / largest)) if 0 < largest < np.inf else largest
