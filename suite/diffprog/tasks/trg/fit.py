"""Fitting couplings: maximum likelihood for the Ising model.

The log-likelihood per site of couplings K, given the bond correlations c of a planted lattice, is
Σ_b K_b c_b − ln Z(K)/N, with c in the normalisation of ∂(ln Z/N)/∂K. Its negative is convex, and least where the
correlations are those of the planted couplings (Ackley, Hinton, Sejnowski, "A learning algorithm for Boltzmann
machines", Cognitive Science 9 (1985) 147): the task's value, tilted by a source.
"""

from __future__ import annotations

import numpy as np

from diffprog.spec import Array, Arrays
from diffprog.tasks.trg import exact, problem, reference
from diffprog.tasks.trg.problem import TrgConfig

STEP = 1e-3
"""Of the differences of ∂(ln Z/N)/∂K that give the specific heat."""
BOUNDS = (0.05, 1.0)
"""For L-BFGS, whose first trial step would leave the ferromagnetic K > 0, where √(sinh K) is real."""
COUPLINGS = np.round(np.linspace(0.38, 0.5, 13), 12)
"""K of the scan, across the transition at 0.4407."""


def draw(config: TrgConfig, seed: int) -> Arrays:
    """What `problem.draw` gives; ``fit_planted`` (P,) and its ``fit_source`` (P,); for ``classic`` the ``fit_scan``."""
    inputs = problem.draw(config, seed)
    data = {name: array for name, array in inputs.items() if name != "params"}
    planted = np.random.default_rng([seed, 2]).uniform(*problem.COUPLINGS, inputs["params"].size)
    _, source = reference.build(config, "reverse").gradient(planted, data)
    more = {"fit_planted": planted, "fit_source": source, "fit_bounds": np.array(BOUNDS)}
    return inputs | more | ({"fit_scan": scan()} if config.variant == "classic" else {})


def scan() -> Array:
    """K − 2h, K − h, K, K + h, K + 2h for each K of the scan: shape (5M, 1)."""
    points: Array = (COUPLINGS[:, None] + STEP * np.arange(-2, 3)).reshape(-1, 1)
    return points


def thermodynamics(value: Array, gradient: Array) -> tuple[Array, Array, Array]:
    """Free energy −ln Z/N, energy E/N and specific heat C/N = K² ∂²(ln Z/N)/∂K², each (M,), from the scan's results.

    The second derivative is a fourth-order difference of the exact first one.
    """
    slope = gradient.reshape(-1, 5)
    second = (slope[:, 0] - 8 * slope[:, 1] + 8 * slope[:, 3] - slope[:, 4]) / (12 * STEP)
    return -value.reshape(-1, 5)[:, 2], -slope[:, 2], COUPLINGS**2 * second


def onsager(couplings: Array) -> tuple[Array, Array, Array]:
    """The same of the infinite lattice, away from Kc; C by differences of the exact energy."""
    step = 1e-5
    slope = np.array([(exact.energy(k + step) - exact.energy(k - step)) / (2 * step) for k in couplings])
    free = -np.array([exact.log_partition(k) for k in couplings])
    return free, np.array([exact.energy(k) for k in couplings]), -(couplings**2) * slope
