"""How calls cross: requests and replies are vectors of int64; ``julia/src/bridge/wire.jl`` says what is in them."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from diffprog.spec import Array

Optional = Array | None

DTYPES = tuple(
    np.dtype(name) for name in ("float64", "float32", "complex128", "complex64", "int64", "int32", "uint8", "bool")
)
CODES = {dtype: code for code, dtype in enumerate(DTYPES, start=1)}
FLOAT64 = DTYPES[0]
NUMBER = len(DTYPES) + 1
"""A float64 of shape () that is in the message itself, by its bits."""
DIFFERENTIABLE = frozenset(DTYPES[:4])
HEADER = 512
"""Words of an in-process reply's header at most."""
INLINE = 4096
"""Words of arrays that may follow it."""


class What(IntEnum):
    """What a request asks for."""

    LOAD = 0
    CALL = 1
    FORWARD = 2
    PULLBACK = 3
    PUSHFORWARD = 4
    SECOND = 5
    TIME = 6
    NOTHING = 7
    MEMORY = 8
    """The memory of requests (``number`` 0) or replies (1) has ``key`` bytes from now on; in another file, if one is
    named."""


class Status(IntEnum):
    """What has become of it."""

    OK = 0
    FAILED = 1
    INTERRUPTED = 2
    REFUSED = 3
    NO_ROOM = 4
    """The results take ``key`` bytes, more than the memory of replies has; they wait for it to grow."""
    GONE = 5


class Bell(NamedTuple):
    """Says that a reply is there, of how many arrays, described by how many words."""

    identity: int
    status: int
    key: int
    arrays: int
    words: int


BELL = struct.Struct("=5q")
"""What a bell is in the pipe."""


def code(array: Array) -> int:
    """The number of an array's dtype.

    Raises:
        TypeError: if arrays of this dtype do not cross.
    """
    try:
        return CODES[array.dtype]
    except KeyError:
        known = ", ".join(map(str, DTYPES))
        raise TypeError(f"an array of dtype {array.dtype} cannot cross to Julia; these can: {known}") from None


def native(array: Array) -> Array:
    """The array in C order, aligned and in this machine's byte order, and of the same shape; a copy.

    Raises:
        TypeError: for masked elements, which a copy would show.
    """
    if np.ma.isMaskedArray(array) and np.ma.getmaskarray(array).any():
        raise TypeError("an array with masked elements cannot cross to Julia: .filled() gives them a value")
    return np.array(array, dtype=np.asarray(array).dtype.newbyteorder("="), order="C", subok=False)


_REAL, _WORD = struct.Struct("=d"), struct.Struct("=q")


def describe(array: Optional, place: int) -> tuple[int, ...]:
    """The words of a request that say what an array is and where."""
    if array is None:
        return (0,)
    return (code(array), array.ndim, *array.shape, place)


def number(bits: int) -> Array:
    """The float64 of shape () that has these bits."""
    return np.array(_REAL.unpack(_WORD.pack(bits))[0])


def text(data: str) -> Array:
    """A text as the array of its UTF-8 bytes."""
    return np.frombuffer(data.encode(), dtype=np.uint8)
