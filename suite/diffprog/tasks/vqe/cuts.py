"""What is known of `maxcut` exactly: one pair of layers, and the largest cut."""

from __future__ import annotations

from functools import cache

import numpy as np

from diffprog.spec import Array
from diffprog.tasks.vqe.problem import VqeConfig, diagonal


def one_layer(joined: int, theta: Array) -> tuple[float, Array]:
    """L and dL/dθ at θ = (γ, β), p = 1, on a triangle-free cubic graph of so many bonds.

    −L = |E| (½ + ½ sin 4β sin γ cos²γ): Wang, Hadfield, Jiang, Rieffel, arXiv:1706.02998, theorem 1 with d = e = 2.
    """
    gamma, beta = theta.tolist()
    sin, cos = np.sin(gamma), np.cos(gamma)
    by_gamma = np.sin(4 * beta) * cos * (cos**2 - 2 * sin**2)
    by_beta = 4 * np.cos(4 * beta) * sin * cos**2
    loss = -joined / 2 * (1 + np.sin(4 * beta) * sin * cos**2)
    return float(loss), -joined / 2 * np.array([by_gamma, by_beta])


@cache
def largest(config: VqeConfig) -> float:
    """How many bonds the largest cut has, by enumeration."""
    return float(diagonal(config).max())
