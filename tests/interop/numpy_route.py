"""A route to no Julia: one function with its derivatives in NumPy, so that the frameworks' side is tested alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffprog.interop.function import JuliaFunction
from diffprog.interop.route import Loaded, Route
from diffprog.interop.wire import Optional, What
from diffprog.spec import Array

Reply = tuple[int, list[Any]]


class NumpyRoute(Route):
    """The function is f(x, w) = (sin x ∘ w, Σ x ∘ w), for x and w of one shape. ``asked`` lists what was asked for."""

    name = "numpy"

    def __init__(self) -> None:
        super().__init__()
        self.generation = 1
        self.asked: list[What] = []
        self.kept: dict[int, list[Array]] = {}
        self._last = 0

    def load(self, function: JuliaFunction | None = None) -> Loaded:
        return super().load(function or JuliaFunction("(x, w) -> (sin.(x) .* w, sum(x .* w))"))

    def transact(
        self, what: What, key: int = 0, arrays: Sequence[Optional] = (), number: int = 0
    ) -> tuple[int, list[Optional]]:
        self.asked.append(what)
        for released in self.taken():
            del self.kept[released]
        found: Reply = getattr(self, f"on_{what.name.lower()}")(
            key, [None if a is None else np.array(a) for a in arrays]
        )
        return found

    def on_load(self, key: int, arrays: list[Any]) -> Reply:
        return 1, []

    def on_nothing(self, key: int, arrays: list[Any]) -> Reply:
        return len(self.kept), []

    def on_call(self, key: int, arrays: list[Any]) -> Reply:
        x, w = arrays
        return 0, [np.sin(x) * w, np.asarray(np.sum(x * w))]

    def on_forward(self, key: int, arrays: list[Any]) -> Reply:
        self._last += 1
        self.kept[self._last] = arrays
        return self._last, self.on_call(key, arrays)[1]

    def on_pullback(self, key: int, arrays: list[Any]) -> Reply:
        (x, w), (a, b) = map(np.conj, self.kept[key]), arrays
        return 0, [np.cos(x) * w * a + w * b, np.sin(x) * a + x * b]

    def on_pushforward(self, key: int, arrays: list[Any]) -> Reply:
        x, w, dx, dw = (arrays[0] * 0 if a is None else a for a in arrays)
        return 0, [np.cos(x) * w * dx + np.sin(x) * dw, np.asarray(np.sum(dx * w + x * dw))]

    def on_second(self, key: int, arrays: list[Any]) -> Reply:
        x, w, dx, dw, a, b = (np.conj(arrays[0] * 0 if a is None else a) for a in arrays)
        a, b = np.conj(a), np.conj(b)
        return 0, [-np.sin(x) * dx * w * a + np.cos(x) * dw * a + dw * b, np.cos(x) * dx * a + dx * b]
