"""The clock counts what it should; nothing here asserts how long anything takes."""

from __future__ import annotations

import gc
from collections.abc import Callable

from suite.measure import clock


def test_every_call_is_synchronised_within_the_timed_region() -> None:
    events: list[str] = []
    seconds, result = clock.timed(lambda: events.append("call"), lambda result: events.append("sync"))
    assert events == ["call", "sync"]
    assert seconds > 0
    assert result is None
    clock.looped(lambda: events.append("call"), lambda result: events.append("sync"))(2)
    assert events[2:] == ["call", "sync", "call", "sync"]


def test_samples_are_interleaved_and_at_least_as_many_as_asked_for() -> None:
    order: list[str] = []

    def run(name: str) -> Callable[[int], float]:
        def calls(count: int) -> float:
            order.append(name)
            return 0.25 * count

        return calls

    taken = clock.sample({"a": run("a"), "b": run("b")}, least=9, seconds=0.0)
    assert order[-18:] == ["a", "b", "b", "a"] * 4 + ["a", "b"]  # neighbours change places
    assert taken["a"].seconds == [0.25] * 9
    assert taken["a"].loops == 1


def test_short_calls_are_repeated_within_a_sample() -> None:
    taken = clock.sample({"short": lambda calls: calls * 1e-6}, least=9, seconds=0.0)["short"]
    assert taken.loops * 1e-6 >= clock.SHORTEST
    assert all(abs(second - 1e-6) < 1e-12 for second in taken.seconds)


def test_the_collector_is_put_back() -> None:
    assert gc.isenabled()
    clock.sample({"a": lambda calls: 0.2}, least=9, seconds=0.0)
    assert gc.isenabled()
