"""The one clock: time is taken here and nowhere else, around work that ends with a synchronisation.

Value, gradient and the bare function are sampled in turn, so that a machine that slows down half-way slows all of them
and leaves their ratios alone. A sample is the mean of ``loops`` calls, enough of them to last ``SHORTEST`` seconds.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

Run = Callable[[int], float]
"""Makes n calls, each complete before the next, and returns the seconds they took."""
SHORTEST = 2e-3
"""Seconds a sample lasts at least: a thousand times what reading the clock costs."""
MOST_SAMPLES = 40
WARM_UP = 0.1
"""Seconds of untimed calls before the first sample; one call at least."""


def timed(call: Callable[[], Any], synchronise: Callable[[Any], None]) -> tuple[float, Any]:
    """Seconds of one call, complete on its device, and its result."""
    start = perf_counter()
    result = call()
    synchronise(result)
    return perf_counter() - start, result


def looped(call: Callable[[], Any], synchronise: Callable[[Any], None]) -> Run:
    """A function that makes n calls, each complete before the next, and returns the seconds they took."""

    def run(calls: int) -> float:
        start = perf_counter()
        for _ in range(calls):
            synchronise(call())
        return perf_counter() - start

    return run


@dataclass
class Samples:
    """Raw samples in seconds a call, and the number of calls behind each."""

    loops: int
    seconds: list[float] = field(default_factory=list)


def sample(runs: Mapping[str, Run], least: int, seconds: float) -> dict[str, Samples]:
    """Interleaved steady samples of every run.

    Args:
        runs: by name, a function that makes n calls and returns the seconds they took; what is to be compared most
            closely stands side by side.
        least: samples of each, at least.
        seconds: about how long to go on beyond that (all runs together).
    """
    taken = {name: Samples(_loops(run)) for name, run in runs.items()}
    ordered = list(runs.items())
    swapped = [run for pair in _in_pairs(ordered) for run in reversed(pair)]
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()  # as timeit does: a collection in the middle of a sample belongs to no call
    try:
        start = perf_counter()
        for count in range(max(least, MOST_SAMPLES)):
            if count >= least and perf_counter() - start > seconds:
                break
            # Neighbours change places every round, so that of two that are compared neither always follows the other,
            # with the caches that it leaves.
            for name, run in swapped if count % 2 else ordered:
                loops = taken[name].loops
                if loops > 1:
                    run(1)  # not timed: the caches are this run's own from here on
                taken[name].seconds.append(run(loops) / loops)
    finally:
        if was_on:
            gc.enable()
    return taken


def _in_pairs(runs: list[tuple[str, Run]]) -> list[list[tuple[str, Run]]]:
    """The runs two by two; the last one alone if their number is odd."""
    return [runs[start : start + 2] for start in range(0, len(runs), 2)]


def _loops(run: Run) -> int:
    """Warms up, and returns how many calls last ``SHORTEST``."""
    spent, calls = 0.0, 0
    while spent < WARM_UP and calls < 1000:
        spent += run(1)
        calls += 1
    loops, lasted = 1, run(1)
    while lasted < SHORTEST and loops < 1_000_000:
        loops = max(loops + 1, int(1.2 * loops * SHORTEST / max(lasted, 1e-7)))
        lasted = run(loops)
    return loops
