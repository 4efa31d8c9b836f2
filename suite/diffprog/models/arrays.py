"""Named arrays: what a user draws, what the model is given, and the flat vector θ that the suite differentiates by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from diffprog.errors import UsageError
from diffprog.spec import Array, Arrays, Block, Layout

KINDS = {"f": "floating", "c": "complex", "i": "integer", "u": "integer", "b": "boolean"}
"""What data may be, by NumPy's kind of a dtype."""
TYPES = ("float64", "complex128", "int64", "bool")
"""What it becomes: the widest of each kind. Float and complex data follow the precision of a cell."""
RESERVED = ("params", "directions", "fit_", "batches_")
"""Names, and beginnings of names, that the suite's own inputs have."""


def params(drawn: Any, where: str) -> Arrays:
    """Checked parameters: float64, finite, by name.

    Args:
        drawn: what the user gave, a mapping of names to real arrays or numbers.
        where: file and function, for the sentences.

    Raises:
        UsageError: saying what is wrong.
    """
    found = _named(drawn, "params", where)
    if not found:
        raise UsageError(f"{where}: params is empty: there is nothing to differentiate by")
    for name, array in found.items():
        if array.dtype.kind not in "fiu":
            kind = KINDS.get(array.dtype.kind, str(array.dtype))
            mend = ": give its real and imaginary parts two names" if array.dtype.kind == "c" else ""
            raise UsageError(f"{where}: the parameter {name!r} is {kind}; parameters are real numbers{mend}")
        if array.size == 0:
            raise UsageError(f"{where}: the parameter {name!r} has no elements (shape {array.shape})")
    return {name: np.ascontiguousarray(array, dtype=np.float64).reshape(array.shape) for name, array in found.items()}


def data(drawn: Any, where: str) -> Arrays:
    """Checked data: float64, complex128, int64 or bool, finite, by name.

    Raises:
        UsageError: as `params`.
    """
    found = _named(drawn, "data", where)
    for name, array in found.items():
        if any(name == taken or (taken.endswith("_") and name.startswith(taken)) for taken in RESERVED):
            raise UsageError(f"{where}: data may not be called {name!r}: inputs of the suite's own are; choose another")
        if array.dtype.kind not in KINDS:
            raise UsageError(
                f"{where}: data {name!r} is of dtype {array.dtype}; it may be floating, complex, integer or boolean"
            )
    widest = dict(zip("fcib", TYPES, strict=True)) | {"u": "int64"}
    return {
        name: np.ascontiguousarray(array, dtype=widest[array.dtype.kind]).reshape(array.shape)
        for name, array in found.items()
    }


def _named(drawn: Any, called: str, where: str) -> Arrays:
    if not isinstance(drawn, Mapping):
        raise UsageError(f"{where}: {called} is a {type(drawn).__name__}; it must be a dict of names and arrays")
    found: Arrays = {}
    for name, given in drawn.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise UsageError(f"{where}: {name!r} in {called} is no name: letters, digits and _ make one")
        try:
            array = np.asarray(given)
        except Exception as error:  # a framework's array has reasons of its own, such as requires_grad
            raise UsageError(f"{where}: {name!r} in {called} is no array ({error})") from error
        if isinstance(given, Mapping):
            raise UsageError(f"{where}: {name!r} in {called} is a dict; give each array in it a name of its own")
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            raise UsageError(f"{where}: {name!r} in {called} is not finite everywhere")
        if array.dtype.kind in "iu" and array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise UsageError(f"{where}: {name!r} in {called} has integers beyond 64 bits")
        found[name] = array
    return found


def layout(arrays: Mapping[str, Array]) -> Layout:
    """The blocks of θ: the parameters in their own order."""
    return Layout(tuple(Block(name, array.shape) for name, array in arrays.items()))


def flat(arrays: Mapping[str, Array]) -> Array:
    """θ (P,): all parameters in a row, each in C order."""
    return np.concatenate([array.reshape(-1) for array in arrays.values()])


Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes of the parameters, in their order."""


def pieces(shapes: Shapes) -> tuple[tuple[str, int, int, tuple[int, ...]], ...]:
    """(name, start, stop, shape) of each parameter within θ."""
    found, start = [], 0
    for name, shape in shapes:
        stop = start + math.prod(shape)
        found.append((name, start, stop, shape))
        start = stop
    return tuple(found)


def named(theta: Any, shapes: Shapes) -> dict[str, Any]:
    """The parameters by name, in their shapes, of a flat θ of any framework that has NumPy's ``reshape``."""
    return {name: theta[start:stop].reshape(shape) for name, start, stop, shape in pieces(shapes)}


def unnamed(found: Any, shapes: Shapes, where: str) -> Array:
    """A gradient by name as a flat one, (P,).

    Raises:
        ValueError: if a name is missing or has another shape.
    """
    parts = []
    for name, shape in shapes:
        if not isinstance(found, Mapping) or name not in found:
            raise ValueError(f"{where} gives no gradient for the parameter {name!r}")
        part = np.asarray(found[name])
        if part.shape != shape:
            raise ValueError(f"{where}: the gradient of {name!r} has shape {part.shape} where {name} has {shape}")
        parts.append(part.reshape(-1))
    return np.concatenate(parts)


def column_major(arrays: Arrays, shapes: Shapes) -> Arrays:
    """The same for Julia: every array in Fortran's order, θ block by block, so that an index means the same there."""
    found = {name: to_columns(array) for name, array in arrays.items() if name != "params"}
    if "params" in arrays:
        found["params"] = theta_to_columns(arrays["params"], shapes)
    return found


def to_columns(array: Array) -> Array:
    """The array's transpose in C order: its own memory in Fortran's, which Julia sees in the array's shape."""
    return np.ascontiguousarray(array.T).reshape(array.shape[::-1])  # which of a number would make a vector


def theta_to_columns(theta: Array, shapes: Shapes) -> Array:
    """θ (P,) with each block in Fortran's order."""
    return np.concatenate([block.reshape(-1, order="F") for block in named(theta, shapes).values()])


def theta_from_columns(theta: Array, shapes: Shapes) -> Array:
    """θ (P,) with each block in C order again."""
    blocks = (theta[start:stop].reshape(shape, order="F") for _, start, stop, shape in pieces(shapes))
    return np.concatenate([block.reshape(-1) for block in blocks])
