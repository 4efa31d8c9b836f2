"""Named arrays: whatever a user draws, each element is where it was, on every way to a framework and back."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from diffprog.errors import UsageError
from diffprog.models import arrays
from diffprog.spec import Array

SHAPES = ((), (1,), (3,), (2, 3), (3, 1), (2, 3, 4), (1, 1, 2, 3))
ORDERS = ("C", "F", "reversed", "strided", "transposed")
LAID = list(itertools.product(SHAPES, ORDERS))


def arranged(values: Array, order: str) -> Array:
    """The same array, lying otherwise in memory."""
    if order == "C":
        return np.ascontiguousarray(values).reshape(values.shape)
    if order == "F":
        return np.array(values, order="F")
    if order == "transposed":
        return np.array(values.T, order="C").T
    if not values.ndim:
        return values
    if order == "reversed":
        return np.array(values[::-1])[::-1]
    wide = np.zeros((*values.shape[:-1], 2 * values.shape[-1]), values.dtype)
    wide[..., ::2] = values
    return wide[..., ::2]


def drawn(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    found = np.asarray(rng.normal(size=shape) * 10)
    return (found + 1j * rng.normal(size=shape) if dtype.startswith("complex") else found).astype(dtype)


@pytest.mark.parametrize(("shape", "order"), LAID)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint16", "int64"])
def test_parameters_come_as_float64_in_c_order(shape: tuple[int, ...], order: str, dtype: str) -> None:
    values = drawn(shape, dtype)
    found = arrays.params({"a": arranged(values, order), "b": 1}, "here")
    assert list(found) == ["a", "b"]
    assert found["a"].dtype == np.float64 and found["a"].shape == shape and found["a"].flags.c_contiguous
    assert np.array_equal(found["a"], values)
    assert found["b"].shape == () and found["b"] == 1.0


@pytest.mark.parametrize(("shape", "order"), LAID)
@pytest.mark.parametrize(
    ("dtype", "becomes"),
    [
        ("float32", "float64"), ("float64", "float64"), ("complex64", "complex128"), ("complex128", "complex128"),
        ("int8", "int64"), ("uint8", "int64"), ("int64", "int64"), ("bool", "bool"),
    ],
)  # fmt: skip
def test_data_come_in_the_widest_type_of_their_kind(
    shape: tuple[int, ...], order: str, dtype: str, becomes: str
) -> None:
    values = drawn(shape, dtype)
    found = arrays.data({"a": arranged(values, order)}, "here")["a"]
    assert found.dtype == becomes and found.shape == shape and found.flags.c_contiguous
    assert np.array_equal(found, values)


@pytest.mark.parametrize(
    ("given", "shape", "dtype"),
    [
        (1.5, (), "float64"), (2, (), "int64"), (True, (), "bool"), (1j, (), "complex128"), ([1, 2], (2,), "int64"),
        ([[1.0], [2.0]], (2, 1), "float64"), (np.float32(1.5), (), "float64"), (np.array(3), (), "int64"),
        ([], (0,), "float64"), (np.zeros((0, 3), int), (0, 3), "int64"), (range(3), (3,), "int64"),
    ],
)  # fmt: skip
def test_numbers_and_lists_are_arrays(given: Any, shape: tuple[int, ...], dtype: str) -> None:
    found = arrays.data({"x": given}, "here")["x"]
    assert (found.shape, found.dtype.name) == (shape, dtype)
    assert np.array_equal(found, given)


def test_what_was_given_is_not_kept() -> None:
    given = np.ones(3)
    taken = arrays.flat(arrays.params({"a": given}, "here"))
    taken[:] = 7
    assert np.array_equal(given, np.ones(3))


def several(seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(SHAPES), rng.integers(1, 6))
    return {f"p{k}": drawn(SHAPES[which], "float64", 7 * seed + k) for k, which in enumerate(chosen)}


@pytest.mark.parametrize("seed", range(40))
def test_blocks_come_back_from_theta(seed: int) -> None:
    given = several(seed)
    shapes = tuple((name, array.shape) for name, array in given.items())
    theta = arrays.flat(given)
    assert theta.shape == (arrays.layout(given).size,) == (sum(array.size for array in given.values()),)
    again = arrays.named(theta, shapes)
    assert list(again) == list(given)
    assert all(np.array_equal(again[name], given[name]) for name in given)
    assert np.array_equal(arrays.unnamed(again, shapes, "here"), theta)
    split = arrays.layout(given).split(theta)  # the layout, which names components, cuts in the same places
    assert all(np.array_equal(split[name], given[name]) for name in given)
    for index in range(theta.size):
        name, _, place = arrays.layout(given).name_of(index).partition("[")
        where = tuple(int(i) for i in place.rstrip("]").split(",") if i)
        assert given[name][where] == theta[index]


@pytest.mark.parametrize("seed", range(40))
def test_an_index_means_the_same_in_column_major_memory(seed: int) -> None:
    """What Julia sees, memory read by columns in the same shape, has at [i, j] what NumPy has there."""
    given = several(seed)
    shapes = tuple((name, array.shape) for name, array in given.items())
    data = {"X": drawn((2, 3, 4), "complex128", seed), "y": drawn((3, 2), "int64", seed), "z": drawn((), "bool", seed)}
    handed = arrays.column_major({"params": arrays.flat(given), **data}, shapes)
    for name, array in data.items():
        assert handed[name].flags.c_contiguous and handed[name].shape == array.shape[::-1]
        seen = handed[name].reshape(-1).reshape(array.shape, order="F")
        assert seen.dtype == array.dtype and np.array_equal(seen, array)
    for name, start, stop, shape in arrays.pieces(shapes):
        assert stop - start == math.prod(shape)
        seen = handed["params"][start:stop].reshape(shape, order="F")
        assert np.array_equal(seen, given[name])
    assert np.array_equal(arrays.theta_from_columns(handed["params"], shapes), arrays.flat(given))


def test_a_gradient_by_name_must_be_whole() -> None:
    shapes: arrays.Shapes = (("W", (2, 3)), ("b", ()))
    good = {"b": 1.0, "W": np.ones((2, 3))}
    assert arrays.unnamed(good, shapes, "here").tolist() == [1.0] * 7
    for wrong, told in (
        ({"W": np.ones((2, 3))}, "here gives no gradient for the parameter 'b'"),
        ({"W": np.ones((3, 2)), "b": 1.0}, r"the gradient of 'W' has shape \(3, 2\) where W has \(2, 3\)"),
        ([1.0], "here gives no gradient for the parameter 'W'"),
    ):
        with pytest.raises(ValueError, match=told):
            arrays.unnamed(wrong, shapes, "here")


@pytest.mark.parametrize("value", [np.nan, np.inf, complex(0, np.nan)])
def test_nothing_that_is_not_finite_comes_in(value: complex) -> None:
    with pytest.raises(UsageError, match="here: 'x' in data is not finite everywhere"):
        arrays.data({"x": [1.0, value]}, "here")


@pytest.mark.parametrize("given", [np.array(["a"]), np.array([None]), np.array(["2020-01-01"], "M8[D]"), object()])
def test_no_other_kinds_come_in(given: Any) -> None:
    with pytest.raises(UsageError, match=r"here: data 'x' is of dtype .*; it may be floating, "):
        arrays.data({"x": given}, "here")
