"""A function of NumPy: its value, and a gradient where one was written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from diffprog.backends.base import in_precision
from diffprog.errors import Unsupported
from diffprog.gradients.given import Given, copies
from diffprog.gradients.sides import place
from diffprog.models import checking, on_numpy
from diffprog.spec import Array


class NumpySide:
    """See `sides.Side`."""

    note = ""

    def __init__(
        self, function: Callable[..., Any], by_hand: Callable[..., Any] | None, given: Given, precision: str
    ) -> None:
        file, where = place(function)
        self._functions = on_numpy.functions(function, by_hand, None, given.shapes, file, where)
        self._data, self._precision = in_precision(copies(given.data), precision), precision
        self._value = checking.Guarded(self._functions.value, file, lambda error: "")
        assert self._functions.check is not None
        self._functions.check(given.theta.astype(precision), self._data)

    def value_at(self, theta: Array) -> float:
        return float(self._value(theta.astype(self._precision), self._data))

    def gradient_at(self, theta: Array) -> Array:
        return self.derivative_at("gradient", "hand", theta, theta)[1]

    def derivative_at(self, operator: str, engine: str, theta: Array, direction: Array) -> tuple[float, Array]:
        if operator != "gradient":
            raise Unsupported(f"NumPy differentiates nothing: there is no {operator} by hand")
        value, gradient = self._functions.gradient(theta.astype(self._precision), self._data)
        return float(value), np.asarray(gradient)
