"""A function of JAX, in this process, whose settings stay as they are: 64 bits are had within each call alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from diffprog.backends import jax_engines
from diffprog.backends.base import Ask, in_a_row, in_precision
from diffprog.gradients.given import Given
from diffprog.gradients.sides import place
from diffprog.models import checking, on_jax
from diffprog.models.loading import Fault
from diffprog.spec import Array

UNTRACEABLE = ("ConcretizationTypeError", "TracerBoolConversionError", "TracerIntegerConversionError")
"""What a function raises under jit, and may not raise where its numbers are known."""


class JaxSide:
    """See `sides.Side`. Arrays are on JAX's default device. All is compiled, unless the function cannot be."""

    def __init__(self, function: Callable[..., Any], given: Given, precision: str) -> None:
        file, where = place(function)
        self._precision, self.note = precision, ""
        self._functions = replace(on_jax.functions(function, None, given.shapes, file, where), named=None)  # all of θ
        self._made: dict[tuple[str, str], Any] = {}
        self._compile: Callable[[Any], Any] = jax.jit
        with self._bits():
            self._data = {name: jax.numpy.array(x) for name, x in in_precision(given.data, precision).items()}
            self._look(self._theta(given.theta), where)
        self._value = checking.Guarded(self._compile(self._functions.value), file, on_jax.hint)
        self._derive = checking.Guarded(self._by_engine, file, on_jax.hint)

    def _bits(self) -> AbstractContextManager[Any]:
        return bits(double=self._precision == "float64")

    def _theta(self, x: Array) -> Any:
        return jax.numpy.array(x.astype(self._precision))

    def _look(self, theta: Any, where: str) -> None:
        assert self._functions.check is not None
        try:
            self._functions.check(theta, self._data)
        except Fault as fault:
            if type(fault.__cause__).__name__ not in UNTRACEABLE:
                raise
            try:
                found = jax.numpy.asarray(self._functions.value(theta, self._data))
                self._functions.gradient(theta, self._data)
            except Exception:
                raise fault from fault.__cause__
            self._compile = lambda function: function
            self.note = f"it cannot be compiled, and was called as it is: {fault}"
            number = np.asarray(found)
            checking.value(number, number.shape, number.dtype.kind, str(number.dtype), self._precision, where)

    def value_at(self, theta: Array) -> float:
        with self._bits():
            return float(self._value(self._theta(theta), self._data))

    def gradient_at(self, theta: Array) -> Array:
        return self.derivative_at("gradient", "reverse", theta, theta)[1]

    def derivative_at(self, operator: str, engine: str, theta: Array, direction: Array) -> tuple[float, Array]:
        with self._bits():
            value, found = self._derive(operator, engine, self._theta(theta), self._theta(direction))
            return float(value), in_a_row(found, np.array)

    def _by_engine(self, operator: str, engine: str, theta: Any, direction: Any) -> tuple[Any, Any]:
        key = operator, engine
        if key not in self._made:
            self._made[key] = self._compile(jax_engines.derivative(self._functions, Ask(operator, engine)))
        along = () if operator == "gradient" else (direction,)
        found: tuple[Any, Any] = self._made[key](theta, self._data, *along)
        return found


def bits(*, double: bool) -> AbstractContextManager[Any]:
    """Within it, JAX computes in 64 bits or not, in this thread alone."""
    if hasattr(jax, "enable_x64"):
        found: AbstractContextManager[Any] = jax.enable_x64(double)
        return found
    from jax.experimental import disable_x64, enable_x64

    older: AbstractContextManager[Any] = enable_x64() if double else disable_x64()
    return older
