"""Numbers that have been through float32 on the way: float64 by dtype, 24 bits of it used."""

from __future__ import annotations

import numpy as np

from diffprog.measure.norms import norm
from diffprog.spec import Array

SIGNIFICANT = 1e-6
"""Of the norm: what is smaller may be a difference of larger numbers, with few bits left."""
MOVED = 2.0**-44
"""Relative. A number that is nearer to the right one was not rounded to float32, which moves by 2⁻²⁵ or so."""


def coarse(x: Array) -> Array:
    """Which components of a float64 array float32 can represent: one in 2²⁹ by chance."""
    with np.errstate(over="ignore"):
        return np.asarray(x == x.astype(np.float32).astype(np.float64))


def rounded(x: Array, y: Array, scale: float | None = None) -> Array:
    """The indices of the components of ``x`` that were rounded to float32 where ``y``, the right answer, was not.

    Both are flat, of one size, finite and float64. One such component proves nothing where others are fine: then none
    is returned. ``scale``: the size of what is significant, the norm of ``y`` by default.
    """
    big = np.abs(x) > SIGNIFICANT * (norm(y) if scale is None else scale)
    hits = np.flatnonzero(big & coarse(x) & ~coarse(y) & (np.abs(x - y) > MOVED * np.abs(y)))
    return hits if hits.size >= min(2, int(big.sum())) else hits[:0]
