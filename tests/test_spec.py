"""Layouts, names, and the declarations of all tasks."""

from __future__ import annotations

import numpy as np
import pytest

from diffprog import tasks
from diffprog.errors import UsageError
from diffprog.spec import SIZES, Block, Layout

LAYOUT = Layout((Block("W", (3, 2)), Block("b", (3,))))


def test_layout_splits_in_c_order() -> None:
    parts = LAYOUT.split(np.arange(9.0))
    assert parts["W"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert parts["b"].tolist() == [6, 7, 8]


def test_layout_refuses_another_length() -> None:
    with pytest.raises(ValueError, match=r"shape \(9,\)"):
        LAYOUT.split(np.zeros(8))


def test_layout_names_components() -> None:
    assert [LAYOUT.name_of(i) for i in (0, 5, 6, 8)] == ["W[0,0]", "W[2,1]", "b[0]", "b[2]"]
    with pytest.raises(IndexError):
        LAYOUT.name_of(9)


@pytest.mark.parametrize("name", tasks.NAMES)
def test_declarations_are_consistent(name: str) -> None:
    task = tasks.get(name)
    for variant in task.variants:
        for size in SIZES:
            config = task.configure(variant, size)
            assert task.work(config)["parameters"] == task.layout(config).size
            for method in task.methods:
                assert task.memory(config, method, 4) < task.memory(config, method, 8)


@pytest.mark.parametrize("name", tasks.NAMES)
def test_extents_grow_with_the_size(name: str) -> None:
    task = tasks.get(name)
    for variant in task.variants:
        names, extents = zip(*(task.extent(task.configure(variant, size)) for size in SIZES), strict=True)
        assert len(set(names)) == 1
        assert extents[0] > 0 and np.all(np.diff(extents) > 0)


@pytest.mark.parametrize("name", tasks.NAMES)
@pytest.mark.parametrize("size", ["tiny", "small"])
def test_inputs_are_the_same_bit_for_bit(name: str, size: str) -> None:
    task = tasks.get(name)
    for variant in task.variants:
        config = task.configure(variant, size)
        first, second, other = task.draw(config, 7), task.draw(config, 7), task.draw(config, 8)
        assert first["params"].dtype == np.float64
        assert first["params"].shape == (task.layout(config).size,)
        assert all(first[key].tobytes() == second[key].tobytes() for key in first)
        assert first["params"].tobytes() != other["params"].tobytes()


def test_unknown_names_are_told() -> None:
    with pytest.raises(
        UsageError, match="no task 'flwo'; the tasks are: classifier, eigensolver, flow, qcbm, trg, vqe"
    ):
        tasks.get("flwo")
    with pytest.raises(UsageError, match="no variant 'x'"):
        tasks.get("flow").check(variant="x")
    with pytest.raises(UsageError, match="no variant 'x' of size"):
        tasks.get("flow").configure("x", "tiny")
