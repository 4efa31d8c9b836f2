"""What the tests of the tasks share: functions that are compiled once, and few of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from diffprog import tasks


def pytest_itemcollected(item: pytest.Item) -> None:
    """JAX compiles each size anew: only the smallest without --thorough."""
    chosen = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    if chosen.get("backend") == "jax" and chosen.get("size", "tiny") != "tiny":
        item.add_marker(pytest.mark.thorough)


@pytest.fixture(scope="module", autouse=True)
def compiled_once() -> Iterator[None]:
    """The same functions for the same configuration, so that JAX compiles them once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "functions", functools.cache(tasks.functions))
        yield
