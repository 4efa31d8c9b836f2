"""The error measures, on figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from diffprog.agree import errors
from diffprog.spec import Block, Layout


def test_figures_by_hand() -> None:
    layout = Layout((Block("a", (1,)), Block("b", (2,))))
    found = errors.compare(np.array([3.0, 4.0, 0.5]), np.array([3.0, 4.0, 0.0]), layout)
    assert found.relative_l2 == pytest.approx(0.1)
    assert found.max_rho == pytest.approx(0.5)  # |0.5| / max(1, 0.5)
    assert found.cosine == pytest.approx(25 / (5 * np.sqrt(25.25)))
    assert (found.worst, found.worst_name) == (2, "b[1]")


def test_vanishing_gradients() -> None:
    zero = np.zeros(2)
    assert errors.compare(zero, zero).relative_l2 == 0
    assert errors.compare(zero, zero).cosine == 1
    assert errors.compare(np.array([0.0, 0.25]), zero).relative_l2 == 0.25
    assert errors.compare(np.array([0.0, 0.25]), zero).cosine == 0


def test_float32_is_compared_in_float64() -> None:
    x = np.full(3, 1 / 3, dtype=np.float32)
    found = errors.compare(x, np.full(3, 1 / 3))
    assert found.relative_l2 == pytest.approx(abs(float(x[0]) * 3 - 1))


def test_values() -> None:
    assert errors.of_value(1e-3, 2e-3) == pytest.approx(1e-3)
    assert errors.of_value(101.0, 100.0) == pytest.approx(0.01)
