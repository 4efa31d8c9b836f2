"""One loss for every backend, right and with planted mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffprog.spec import Array


def arrays(seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """A layer's parameters W (3, 2), b (2,), c (); data X (5, 3), integers, booleans and complex numbers (5,)."""
    rng = np.random.default_rng(seed)
    params = {"W": rng.normal(size=(3, 2)), "b": rng.normal(size=2), "c": float(rng.normal())}
    data = {"X": rng.normal(size=(5, 3)), "kinds": rng.integers(0, 2, 5), "kept": rng.random(5) > 0.3,
            "z": rng.normal(size=5) + 1j * rng.normal(size=5)}  # fmt: skip
    return params, data


def loss(np: Any) -> Any:
    """The loss in NumPy, or in what is like it."""

    def of(params: Any, data: Any) -> Any:
        H = np.tanh(data["X"] @ params["W"] + params["b"])
        chosen = H[np.arange(5), data["kinds"]]
        squares = chosen**2 * abs(data["z"]) ** 2
        return np.where(data["kept"], squares, 0 * squares).sum() + params["c"] ** 2

    return of


def by_hand(params: dict[str, Array], data: dict[str, Array]) -> tuple[Any, dict[str, Array]]:
    """The loss and its gradient in NumPy."""
    H = np.tanh(data["X"] @ params["W"] + params["b"])
    rows = np.arange(5)
    weight = data["kept"] * np.abs(data["z"]) ** 2
    bar = np.zeros_like(H)
    bar[rows, data["kinds"]] = 2 * H[rows, data["kinds"]] * weight
    bar *= 1 - H**2
    slopes = {"W": data["X"].T @ bar, "b": bar.sum(0), "c": np.asarray(2 * params["c"])}
    return loss(np)(params, data), slopes


@pytest.fixture
def given() -> dict[str, Any]:
    """``params`` and ``data``, as keywords."""
    params, data = arrays()
    return {"params": params, "data": data}
