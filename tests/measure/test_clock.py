"""The clock counts what it should; nothing here asserts how long anything takes."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from itertools import chain, count, cycle, repeat

from diffprog.measure import clock


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


def calls_of(times: Iterator[float]) -> Callable[[int], float]:
    return lambda count: sum(next(times) for _ in range(count))


def test_the_warm_up_ends_when_calls_have_become_steady() -> None:
    assert clock.warm_up(calls_of(repeat(0.025))) == (4, True)  # a block of one call each, 0.1 s
    faster = [0.04 * 0.9**block for block in range(6)]
    assert clock.warm_up(calls_of(chain(faster, repeat(faster[-1])))) == (7, True)
    assert clock.warm_up(calls_of(repeat(1e-6))) == (5 * clock.BLOCK_CALLS, True)


def test_a_warm_up_that_never_settles_is_bounded_and_says_so() -> None:
    growing = (0.02 * 1.2**block for block in count())
    calls, settled = clock.warm_up(calls_of(growing))
    assert settled is False
    assert sum(0.02 * 1.2**block for block in range(calls - 1)) < clock.MOST_WARM_UP
    unsteady = calls_of(cycle([1e-6] * clock.BLOCK_CALLS + [2e-6] * clock.BLOCK_CALLS))
    assert clock.warm_up(unsteady) == (25 * clock.BLOCK_CALLS, False)


def test_long_calls_are_made_once_and_nothing_is_known_of_their_steadiness() -> None:
    assert clock.warm_up(lambda calls: 0.6 * calls) == (1, None)


def test_the_samples_say_how_they_were_warmed_up() -> None:
    taken = clock.sample({"a": lambda calls: 0.3 * calls}, least=1, seconds=1.0)["a"]
    assert (taken.warm_up, taken.settled) == (2, True)
    taken = clock.sample({"a": lambda calls: 1e-3 * calls}, least=1, seconds=0.0)["a"]
    assert (taken.warm_up, taken.settled) == (20, None)  # one block: there is no time to see more
