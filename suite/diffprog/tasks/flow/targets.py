"""The unnormalised densities π̃ that the variational variants sample, and the exact ln Z of each.

``log_density(variant, x, data)`` returns ln π̃ of shape (B,) and its gradient with respect to x of shape (B, d);
``CURVATURE[variant](x, x_dot, data)`` returns what the gradient changes by along ẋ, of shape (B, d).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from diffprog.spec import Array
from diffprog.tasks.flow import ising

RADIUS, RING = 2.0, 0.32
"""`ring`: exp(−(|x| − RADIUS)²/RING)."""
SKEW = 0.5
"""`correlated`: exp(−x² − y² − SKEW·xy)."""


def _ising(x: Array, data: dict[str, Array]) -> tuple[Array, Array]:
    pull = x @ data["inverse_coupling"]
    size = np.abs(x)
    log_cosh = size + np.log1p(np.exp(-2 * size)) - math.log(2)  # does not overflow
    return (log_cosh - x * pull / 2).sum(axis=1), np.tanh(x) - pull


def _ring(x: Array, data: dict[str, Array]) -> tuple[Array, Array]:
    radius = np.sqrt((x * x).sum(axis=1))
    off = radius - RADIUS
    return -off * off / RING, (-2 / RING * off / _positive(radius))[:, None] * x


def _positive(radius: Array) -> Array:
    """With 1 in the place of 0: the field vanishes at the origin, so that noise there stays there, whatever θ."""
    return np.where(radius == 0, 1, radius).astype(radius.dtype)


def _correlated(x: Array, data: dict[str, Array]) -> tuple[Array, Array]:
    swapped = x[:, ::-1]
    gradient: Array = -2 * x - SKEW * swapped
    return (x * gradient).sum(axis=1) / 2, gradient


def _ising_curvature(x: Array, x_dot: Array, data: dict[str, Array]) -> Array:
    return np.asarray((1 - np.tanh(x) ** 2) * x_dot - x_dot @ data["inverse_coupling"])


def _ring_curvature(x: Array, x_dot: Array, data: dict[str, Array]) -> Array:
    """Of the gradient −(2/RING)(1 − RADIUS/r) x."""
    radius = _positive(np.sqrt((x * x).sum(axis=1)))[:, None]
    along = (x * x_dot).sum(axis=1)[:, None]
    return np.asarray(-2 / RING * ((1 - RADIUS / radius) * x_dot + RADIUS * along / radius**3 * x))


def _correlated_curvature(x: Array, x_dot: Array, data: dict[str, Array]) -> Array:
    return np.asarray(-2 * x_dot - SKEW * x_dot[:, ::-1])


LOG_DENSITY = {"ising": _ising, "ring": _ring, "correlated": _correlated}
CURVATURE = {"ising": _ising_curvature, "ring": _ring_curvature, "correlated": _correlated_curvature}


def log_partition(config: Any) -> float:
    """Ln ∫π̃ dx, exact, in nats.

    Raises:
        KeyError: if the variant has no target.
    """
    if config.variant == "ising":
        return -ising.free_energy(math.isqrt(config.dim), config.temperature)
    if config.variant == "ring":
        # 2π ∫ r exp(−(r−R)²/2s²) dr from 0, with s² = RING/2, by the substitution r = R + t.
        variance = RING / 2
        tail = variance * math.exp(-(RADIUS**2) / RING)
        bulk = RADIUS * math.sqrt(math.pi * variance / 2) * (1 + math.erf(RADIUS / math.sqrt(RING)))
        return math.log(2 * math.pi * (tail + bulk))
    if config.variant == "correlated":
        return math.log(math.pi) - math.log(1 - SKEW**2 / 4) / 2  # π/√det of [[1, SKEW/2], [SKEW/2, 1]]
    raise KeyError(config.variant)
