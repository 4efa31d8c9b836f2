"""What a JAX operation does on the host: one call to Julia each, and the pullbacks that wait for theirs."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffprog.interop.route import Kept, Loaded
from diffprog.spec import Array


class Host:
    """A loaded function as the callbacks ask for it; ``result`` and ``keep`` as in `diffprog.interop.jax_op`.

    Attributes:
        recomputed: how many pullbacks were computed again: that of the forward pass was used, or freed, already.
    """

    def __init__(self, loaded: Loaded, result: Any, keep: int) -> None:
        self.loaded, self._result, self._keep = loaded, result, keep
        self._known: dict[Any, tuple[Any, ...]] = {}
        self._kept: OrderedDict[int, Kept] = OrderedDict()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.recomputed = 0

    def __getstate__(self) -> tuple[Loaded, Any, int]:
        """Copied or pickled without the pullbacks that wait: they are the process's own."""
        return self.loaded, self._result, self._keep

    def __setstate__(self, state: tuple[Loaded, Any, int]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def results(self, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """Shapes and dtypes of f's results for inputs of these shapes and dtypes."""
        shapes = tuple(jax.ShapeDtypeStruct(one.shape, one.dtype) for one in inputs)
        key = tuple((one.shape, one.dtype) for one in shapes)
        if key not in self._known:
            found = self._result
            if found is None:
                found = tuple(
                    jax.ShapeDtypeStruct(y.shape, jax.dtypes.canonicalize_dtype(y.dtype))
                    for y in self.loaded.primal([np.ones(one.shape, one.dtype) for one in shapes])
                )
            elif callable(found):
                found = found(*shapes)
            self._known[key] = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        return self._known[key]

    def call(self, x: list[Array]) -> list[Array]:
        return self.loaded.primal(x)

    def forward(self, x: list[Array]) -> list[Array]:
        """Of f(x), and the number under which its pullback is kept."""
        if self.loaded.route.name == "in_process":  # XLA's memory is there for the callback alone
            x = [np.array(one) for one in x]
            self.loaded.route.copies += len(x)
        y, kept = self.loaded.forward(x)
        with self._lock:
            number = next(self._numbers)
            self._kept[number] = kept
            if len(self._kept) > self._keep:
                self._kept.popitem(last=False)
        return [*y, np.array(number, dtype=np.int32)]

    def pullback(self, number: int, x: list[Array], bars: list[Array]) -> list[Array]:
        with self._lock:
            kept = self._kept.get(number)
        if kept is None or kept.gone:
            self.recomputed += 1
            kept = self.loaded.forward(x)[1]
        return _of_floats(x, kept([np.conj(bar) for bar in bars]))

    def second(self, x: list[Array], dots: list[Array | None], bars: list[Array]) -> list[Array]:
        return _of_floats(x, self.loaded.second(x, dots, [np.conj(bar) for bar in bars]))

    def used(self, numbers: Array) -> None:
        """One backward pass is all that most pullbacks see: they are freed after it."""
        with self._lock:
            for number in np.unique(numbers):
                self._kept.pop(int(number), None)


def _of_floats(x: Sequence[Array], bars: Sequence[Array | None]) -> list[Array]:
    """Cotangents of the floating inputs, as JAX pairs them; zeros where nothing depends on one."""
    return [
        np.zeros_like(one) if bar is None else np.conj(bar) for one, bar in zip(x, bars, strict=True) if is_float(one)
    ]


def is_float(one: Any) -> bool:
    return bool(jnp.issubdtype(one.dtype, jnp.inexact))
