"""One function on one backend, in one precision: what is asked of it, whoever computes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from diffprog.gradients.given import Given
from diffprog.spec import Array

_CELL = re.compile(r"\S*ipykernel_\d+/\d+\.py:(\d+)")
"""A cell of a notebook, as Python names its file."""


class Side(Protocol):
    """A loss at the given data; all is given and returned on the host, parameters as the flat θ (P,) in float64.

    ``note`` is what its reader should know of it besides.
    """

    @property
    def note(self) -> str: ...

    def value_at(self, theta: Array) -> float:
        """L(θ)."""

    def gradient_at(self, theta: Array) -> Array:
        """dL/dθ (P,) by the backend's default engine, in the side's precision."""

    def derivative_at(self, operator: str, engine: str, theta: Array, direction: Array) -> tuple[float, Array]:
        """L(θ), and its gradient (P,), jvp () or hvp (P,), the last two along ``direction`` (P,).

        Raises:
            Unsupported: if the engine has no such derivative.
            Unavailable: if it is not installed.
        """


class OutOfTime(Exception):
    """What was asked for is not there in time."""


class Budget:
    """Seconds for all that is asked of one backend; those of the others do not count.

    A function in this process is not stopped: it is asked no more when they are over.
    """

    def __init__(self, limit: float) -> None:
        self.limit, self._left, self._since = limit, limit, monotonic()

    @property
    def left(self) -> float:
        """Seconds from now on, within `spending`; 0 when they are over."""
        return max(0.0, self._left - (monotonic() - self._since))

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Within it time counts.

        Raises:
            OutOfTime: if there is none left.
        """
        self._since = monotonic()
        if not self._left:
            raise self.over()
        try:
            yield
        finally:
            self._left = self.left

    def over(self) -> OutOfTime:
        """What is said when the time is over."""
        return OutOfTime(f"no answer within {self.limit:g} s (time_limit)")


class Timed:
    """A side that is asked for nothing once its time is over."""

    def __init__(self, side: Side, budget: Budget) -> None:
        self._side, self._budget = side, budget

    @property
    def note(self) -> str:
        return self._side.note

    def value_at(self, theta: Array) -> float:
        with self._budget.spending():
            return self._side.value_at(theta)

    def gradient_at(self, theta: Array) -> Array:
        with self._budget.spending():
            return self._side.gradient_at(theta)

    def derivative_at(self, operator: str, engine: str, theta: Array, direction: Array) -> tuple[float, Array]:
        with self._budget.spending():
            return self._side.derivative_at(operator, engine, theta, direction)


def open_side(
    backend: str, function: Any, by_hand: Callable[..., Any] | None, given: Given, precision: str, budget: Budget
) -> Side:
    """A function made ready, and looked at once.

    Args:
        backend: whose it is.
        function: what the caller gave.
        by_hand: its gradient, of a function of NumPy.
        given: what it is compared at.
        precision: float64 or float32.
        budget: for all that is asked of it.

    Raises:
        Fault: saying where the function is wrong.
        Unavailable: if the framework is not installed.
    """
    made: Side
    if backend == "julia":
        of_julia = import_module("diffprog.gradients.julia_side")
        of_julia.worker()  # what is compiled once is not this function's time
    with budget.spending():
        if backend == "julia":
            made = of_julia.JuliaSide(function, given, precision, budget)
        elif backend == "numpy":
            made = import_module("diffprog.gradients.numpy_side").NumpySide(function, by_hand, given, precision)
        else:
            kind = {"torch": "TorchSide", "jax": "JaxSide"}[backend]
            made = getattr(import_module(f"diffprog.gradients.{backend}_side"), kind)(function, given, precision)
    return Timed(made, budget)


def place(function: Callable[..., Any]) -> tuple[Path, str]:
    """The file of a function's code, for `models.loading.told`, and the line where it begins, for sentences."""
    inner = function
    while hasattr(inner, "__wrapped__"):  # jax.jit, functools.wraps
        inner = inner.__wrapped__
    inner = getattr(inner, "__func__", inner)
    if not hasattr(inner, "__code__"):  # an object that can be called
        inner = getattr(type(inner), "__call__", inner)  # noqa: B004
    code = getattr(inner, "__code__", None)
    if code is None:
        return Path(repr(function)[:80]), repr(function)[:80]
    return Path(code.co_filename), f"{code.co_filename}:{code.co_firstlineno}"


def in_words(text: str) -> str:
    """A place in a notebook as its reader knows it."""
    return _CELL.sub(r"line \1 of a cell", text)
