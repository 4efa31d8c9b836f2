"""What functions are compared at: the arrays that a caller gave, checked, and the directions of differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from diffprog.errors import UsageError
from diffprog.measure.finite_differences import unit_directions
from diffprog.models import arrays
from diffprog.spec import Array, Arrays, Layout

WHERE = "check_gradients"


@dataclass(frozen=True)
class Given:
    """Parameters and data, float64 (and complex128, int64, bool), by name.

    Attributes:
        params: in the caller's order.
        data: what is not differentiated by.
        directions: (k, P), unit vectors.
    """

    params: Arrays
    data: Arrays
    directions: Array

    @cached_property
    def theta(self) -> Array:
        """All parameters in a row, (P,)."""
        return arrays.flat(self.params)

    @cached_property
    def layout(self) -> Layout:
        """The parameters within θ."""
        return arrays.layout(self.params)

    @cached_property
    def shapes(self) -> arrays.Shapes:
        """Names and shapes of the parameters."""
        return tuple((name, array.shape) for name, array in self.params.items())


def given(params: Any, data: Any, directions: int, seed: int) -> Given:
    """The arrays of NumPy, PyTorch or JAX that a caller gave, on the host, checked.

    Raises:
        UsageError: saying what is wrong with them.
    """
    if not isinstance(directions, int) or directions < 1:
        raise UsageError(f"{WHERE}: directions is {directions!r}; it is how many finite differences are taken")
    checked = arrays.params(_on_host(params), WHERE)
    others = arrays.data(_on_host({} if data is None else data), WHERE)
    if both := set(checked) & set(others):
        raise UsageError(f"{WHERE}: {sorted(both)[0]!r} is among the params and the data: give one another name")
    size = sum(array.size for array in checked.values())
    return Given(checked, others, unit_directions(size, directions, seed))


def _on_host(named: Any) -> Any:
    """The same with tensors as arrays: a tensor on a tape or a GPU is not NumPy's to read."""
    if not isinstance(named, Mapping):
        return named
    return {name: _read(x) if hasattr(x, "detach") else x for name, x in named.items()}


def _read(tensor: Any) -> Any:
    """NumPy has no bfloat16, say; in float64 all of them are exact."""
    host = tensor.detach().cpu()
    return (host.double() if host.is_floating_point() else host).numpy()


def copies(named: Arrays) -> Arrays:
    """Arrays that nobody else has."""
    return {name: np.array(array) for name, array in named.items()}
