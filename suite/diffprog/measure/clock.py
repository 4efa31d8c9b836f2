"""The one clock: time is taken here and nowhere else, around work that ends with a synchronisation.

Value, gradient and the bare function are sampled in turn, so that a machine that slows down half-way slows all of them
and leaves their ratios alone. A sample is the mean of ``loops`` calls, enough of them to last ``SHORTEST`` seconds.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

Run = Callable[[int], float]
"""Makes n calls, each complete before the next, and returns the seconds they took."""
SHORTEST = 2e-3
"""Seconds a sample lasts at least: a thousand times what reading the clock costs."""
MOST_SAMPLES = 40
WARM_UP, MOST_WARM_UP = 0.1, 0.5
"""Seconds of uncounted calls before the first sample, one call at least: so many, and so many at most."""
BLOCK = WARM_UP / 5
"""Seconds of a block of the warm-up, or `BLOCK_CALLS` calls: what is compared with the block before."""
BLOCK_CALLS = 200
SETTLED = 0.05
"""The warm-up ends when the medians of two consecutive blocks differ by no more than this, relative to the first."""


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


@dataclass(frozen=True)
class Bare:
    """A `Run` in a loop of its own, and one ``call`` of the function in it, for who wants to see its result."""

    run: Run
    call: Callable[[], Any]

    def __call__(self, calls: int) -> float:
        return self.run(calls)


@dataclass
class Samples:
    """Raw samples in seconds a call, the number of calls behind each, and the warm-up before them."""

    loops: int
    warm_up: int = 0
    """Calls."""
    settled: bool | None = None
    """Whether it ended because the time of a call had become steady; None if not even two blocks fitted in."""
    seconds: list[float] = field(default_factory=list)


def sample(runs: Mapping[str, Run], least: int, seconds: float) -> dict[str, Samples]:
    """Interleaved steady samples of every run.

    Args:
        runs: by name, a function that makes n calls and returns the seconds they took; what is to be compared most
            closely stands side by side.
        least: samples of each, at least.
        seconds: about how long to go on beyond that (all runs together), and how long a warm-up may take at most.
    """
    taken: dict[str, Samples] = {}
    for name, run in runs.items():
        calls, settled = warm_up(run, min(MOST_WARM_UP, seconds))
        taken[name] = Samples(_loops(run), calls, settled)
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


def warm_up(run: Run, most: float = MOST_WARM_UP) -> tuple[int, bool | None]:
    """Calls until their time is steady, within bounds; the number of calls, and whether it became steady.

    Blocks of `BLOCK` seconds or `BLOCK_CALLS` calls, five at least unless calls are longer than a block, until the
    medians of the last two differ by no more than `SETTLED`, or ``most`` seconds or as many blocks have passed.
    """
    spent, calls, blocks = 0.0, 0, list[float]()
    while True:
        block: list[float] = []
        while sum(block) < BLOCK and len(block) < BLOCK_CALLS:
            block.append(run(1))
        spent, calls = spent + sum(block), calls + len(block)
        blocks.append(median(block))
        settled = abs(blocks[-1] - blocks[-2]) <= SETTLED * blocks[-2] if len(blocks) > 1 else None
        enough = spent >= WARM_UP or len(blocks) >= WARM_UP / BLOCK
        if (enough and settled) or spent >= most or len(blocks) >= most / BLOCK:
            return calls, settled


def _loops(run: Run) -> int:
    """How many calls last ``SHORTEST``."""
    loops, lasted = 1, run(1)
    while lasted < SHORTEST and loops < 1_000_000:
        loops = max(loops + 1, int(1.2 * loops * SHORTEST / max(lasted, 1e-7)))
        lasted = run(loops)
    return loops
