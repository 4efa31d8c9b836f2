"""Finite differences find derivatives, and find wrong ones out."""

from __future__ import annotations

import numpy as np
import pytest

from diffprog.measure import finite_differences
from diffprog.spec import Array


def energy(x: Array) -> float:
    return float(np.exp(np.sin(x)).sum())


X = np.linspace(-1, 2, 7)
GRADIENT = np.exp(np.sin(X)) * np.cos(X)
DIRECTIONS = np.linalg.qr(np.random.default_rng(0).standard_normal((7, 3)))[0].T


def test_a_derivative_and_its_error_estimate() -> None:
    found = finite_differences.directional(energy, X, DIRECTIONS[0])
    truth = GRADIENT @ DIRECTIONS[0]
    assert found.value == pytest.approx(truth, rel=1e-10)
    assert abs(found.value - truth) <= 10 * found.error + 1e-14


def test_the_true_gradient_passes_and_a_wrong_one_does_not() -> None:
    error, bound = finite_differences.check(energy, X, GRADIENT, DIRECTIONS)
    assert error <= bound
    error, bound = finite_differences.check(energy, X, GRADIENT * (1 + 1e-6), DIRECTIONS)
    assert error > bound
