"""Two moons: two half circles that reach into each other, as scikit-learn's ``make_moons`` has them."""

from __future__ import annotations

import numpy as np

from diffprog.spec import Array

NOISE = 0.1
"""Standard deviation of the normal noise on either coordinate."""
HELD_OUT = 200
HELD_OUT_STREAM = 2026
"""Of the random numbers of the points that are held out: the same for every seed of a case."""


def draw(samples: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Points (B, 2) and labels (B,): 0.0 on (cos t, sin t), 1.0 on (1 − cos t, ½ − sin t), t uniform on [0, π)."""
    labels = (np.arange(samples) % 2).astype(np.float64)
    t = rng.uniform(0, np.pi, samples)
    sign = 1 - 2 * labels
    points = np.stack([labels + sign * np.cos(t), labels / 2 + sign * np.sin(t)], axis=1)
    return points + NOISE * rng.standard_normal(points.shape), labels


def held_out() -> tuple[Array, Array]:
    """Points (200, 2) and labels (200,)."""
    return draw(HELD_OUT, np.random.default_rng(HELD_OUT_STREAM))
