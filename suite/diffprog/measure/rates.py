"""The device's own rates, by the backend itself: how fast it copies and multiplies matrices with what it was given.

Taken in the worker, with its threads and precision, right after the framework is open. The best repetition counts:
a rate is what the device can do, and whatever else runs on the machine only takes away from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from diffprog.records.cells import Rates

BEYOND = 4
"""Times the last cache that an array of the copy has, so that it goes through the memory. It has the most bytes if the
cache is unknown."""
LEAST_COPY, MOST_COPY = 64 * 2**20, 512 * 2**20
"""Bytes of an array of the copy."""
ORDERS = (256, 512, 1024, 2048, 4096, 8192)
"""Of the matrices: as large as the time allows, for small ones are bound by other things than arithmetic."""
REPEATS = 3
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

Call = Callable[[], object]


@dataclass(frozen=True)
class Probes:
    """What a backend offers to be measured by; every call is complete when it returns.

    ``copy(n)`` makes a call that reads n numbers of the opened precision and writes n. ``product(m)`` makes one that
    multiplies two m x m matrices of it. ``cache`` is the last cache in bytes, None if it is unknown.
    """

    copy: Callable[[int], Call]
    product: Callable[[int], Call]
    cache: int | None


def host_cache(folder: Path = _CACHES) -> int | None:
    """Bytes of the processor's last cache, where the system says so (Linux)."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    found = []
    for path in folder.glob("index*/size"):
        text = path.read_text(encoding="ascii").strip()
        if text[:-1].isdigit() and text[-1] in units:
            found.append(int(text[:-1]) * units[text[-1]])
    return max(found, default=None)


def measure(probes: Probes, itemsize: int, seconds: float, clock: Callable[[], float] = perf_counter) -> Rates:
    """Bandwidth (bytes read and written) and arithmetic (a product of order m is 2m³) in about ``seconds``."""
    size = MOST_COPY if probes.cache is None else min(MOST_COPY, max(LEAST_COPY, BEYOND * probes.cache))
    count = size // itemsize
    best, _ = _best(probes.copy(count), seconds / 2, clock)
    bandwidth = 2 * count * itemsize / best
    rate, spent = 0.0, 0.0
    for order in ORDERS:
        best, took = _best(probes.product(order), seconds / 8, clock)
        rate, spent = max(rate, 2 * order**3 / best), spent + took
        # The next takes eight times as long, and a warm-up.
        if spent + 2 * 8 * best > seconds / 2:
            break
    return Rates(bandwidth=bandwidth, flops=rate, cache=probes.cache)


def _best(call: Call, seconds: float, clock: Callable[[], float]) -> tuple[float, float]:
    """The shortest time of a call, and that of all of them, after a first one that may compile and is not counted."""
    call()
    start = clock()
    best, count = float("inf"), 0
    while not count or (count < REPEATS * 8 and clock() - start < seconds):
        before = clock()
        call()
        best, count = min(best, clock() - before), count + 1
    return best, clock() - start
