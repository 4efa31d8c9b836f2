"""Constants and arguments: whatever order of memory or of bytes an array has, or a sentence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffprog.interop import JuliaFunction, wire
from diffprog.interop.worker import Worker
from tests.interop import fake_julia
from tests.interop.numpy_route import NumpyRoute


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    found = Worker(fake_julia.julia(tmp_path_factory.mktemp("julia")))
    yield found
    found.close()


def unaligned(array: Any) -> Any:
    """The same numbers at an odd address."""
    memory = np.zeros(array.nbytes + 1, dtype=np.uint8)
    found = memory[1:].view(array.dtype).reshape(array.shape) if array.ndim else np.ndarray((), array.dtype, memory, 1)
    found[...] = array
    assert not found.flags.aligned or not array.size or array.itemsize == 1
    return found


def read_only(array: Any) -> Any:
    found = array.copy()
    found.flags.writeable = False
    return found


ORDERS: dict[str, Callable[[Any], Any]] = {
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "little-endian": lambda a: a.astype(a.dtype.newbyteorder("<")),
    "unaligned": unaligned,
    "unaligned and big-endian": lambda a: unaligned(a.astype(a.dtype.newbyteorder(">"))),
    "read-only": read_only,
    "by columns": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a,
    "reversed": lambda a: a[..., ::-1].copy()[..., ::-1] if a.ndim else a,
    "broadcast": lambda a: np.broadcast_to(a, (2, *a.shape)),
    "a subclass": lambda a: a.view(type("Own", (np.ndarray,), {})),
    "masked nowhere": np.ma.asarray,
}
ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.array(1.5),
    np.arange(3).astype("float32"),
    np.array([1 + 2j]),
    np.array(3 - 1j, dtype="complex64"),
    np.array(7),
    np.arange(4, dtype="int32"),
    np.array([True, False]),
    np.zeros((0, 2)),
]


@pytest.mark.parametrize("order", ORDERS)
def test_any_order_of_memory(worker: Worker, order: str) -> None:
    for array in ARRAYS:
        given = ORDERS[order](array)
        expected = np.array(given)
        loaded = worker.load(JuliaFunction("lambda x: [data['A'], x]", {"A": given}))
        for found in loaded.primal([given]):
            assert found.shape == expected.shape
            assert found.dtype == array.dtype
            np.testing.assert_array_equal(found, expected)


def test_constants_are_as_they_were(worker: Worker) -> None:
    a = np.ones(3)
    loaded = worker.load(JuliaFunction("lambda x: [data['a'] + x]", {"a": a}))
    a += 1
    worker.close()  # it is loaded again
    assert loaded.primal([np.ones(3)])[0].tolist() == [2.0] * 3


def test_numbers_and_texts(worker: Worker) -> None:
    data: dict[str, Any] = {
        "k": 3,
        "c": 0.5,
        "z": 1j,
        "flag": True,
        "how": "plus\n ä",
        "np": np.float32(2),
        "s": np.str_("text"),
    }
    arrays = JuliaFunction("x -> x", data).messages()
    names = arrays[1].tobytes().decode().split("\n")
    assert names == ["k", "c", "z", "flag", ":how", "np", ":s"]
    dtypes = [one.dtype.name for one in arrays[2:]]
    assert dtypes == ["int64", "float64", "complex128", "bool", "uint8", "float32", "uint8"]
    assert arrays[6].tobytes().decode() == "plus\n ä"


@pytest.mark.parametrize(
    "value",
    [
        np.array([1.0, None], dtype=object),
        np.array(1.0, dtype=object),
        [Decimal(1)],
        2**70,
        2**63,
        None,
        b"bytes",
        np.array(["a"]),
        np.array([("a", 1)], dtype=[("name", "U1"), ("n", "i8")]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        np.ones(3, dtype="float16"),
        np.ones(3, dtype="int8"),
        np.ones(3, dtype="uint64"),
        np.ma.masked_array([1.0, 2.0], [True, False]),
        [[1.0, 2.0], [3.0]],
        {"a": 1.0},
        "half a pair: \ud800",
        lambda: 1.0,
    ],
)
def test_what_cannot_cross_is_told_with_its_name(value: Any) -> None:
    with pytest.raises(TypeError, match="the constant 'A' cannot cross to Julia"):
        JuliaFunction("data -> x -> x", {"A": value})


@pytest.mark.parametrize("name", ["", "a\nb", ":a", 3])
def test_names_that_would_be_read_otherwise(name: Any) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a constant"):
        JuliaFunction("data -> x -> x", {name: 1.0})


@pytest.mark.parametrize("value", [np.ma.masked_array([1.0], [True]), np.ones(2, "float16"), np.ones(2, object)])
def test_arguments_that_cannot_cross(worker: Worker, value: Any) -> None:
    loaded = worker.load(JuliaFunction("lambda x: [x]"))
    with pytest.raises(TypeError, match="cannot cross to Julia"):
        loaded.primal([value])
    assert loaded.primal([np.ones(1)])[0].tolist() == [1.0]


def test_copies_are_counted_and_what_need_not_be_is_not_copied() -> None:
    route = NumpyRoute()
    x = np.ones(3)
    assert route.contiguous(x) is x
    assert route.contiguous(read_only(x)).flags.writeable is False
    assert route.copies == 0
    assert route.contiguous(x[::2]).shape == (2,)
    assert route.contiguous(unaligned(np.array(1.0))).shape == ()
    assert route.copies == 2


def test_dtypes_of_another_name_or_with_metadata() -> None:
    for dtype in ("q", "l", "longlong", np.dtype("f8", metadata={"unit": "m"})):
        array = np.ones(2, dtype=dtype)
        assert wire.DTYPES[wire.code(array) - 1] == array.dtype


@pytest.mark.parametrize("name", ['a"b', "a$b", "a\\b", "a b", "ä", 'raw"'])
def test_a_file_of_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.jl"
    path.write_text("f(x) = x")
    code = JuliaFunction.from_file(path, "f").code
    literal = code.split("\n")[0].removeprefix("include(").removesuffix(")")
    assert literal.replace('\\"', "").count('"') == 2
    assert not literal.replace("\\$", "").count("$")
    assert os.fspath(path) == literal[1:-1].replace('\\"', '"').replace("\\$", "$").replace("\\\\", "\\")
