"""What is measured of a cell once it has run: steady samples by two clocks, transfers, energy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from diffprog.backends.base import Prepared
from diffprog.measure import clock
from diffprog.measure.gpu import Monitor
from diffprog.records.cells import Gpu, Seconds

LONG_CALL = 1.0
"""Seconds. On longer calls what the harness costs is not measured: it cannot matter, and would double the run."""
TRANSFERS = 5
"""Samples of each transfer; one where calls are long."""


def take(cell: Prepared, operator: str, samples: int, seconds: float, monitor: Monitor | None) -> tuple[Seconds, Gpu]:
    """Steady samples of a prepared cell that has run before.

    Args:
        cell: the cell.
        operator: ``value`` means that there is no derivative to sample.
        samples: of each function, at least.
        seconds: about how long to go on beyond that; with 0 no energy is taken.
        monitor: of the GPU that it runs on, if it runs on one that can be asked.
    """
    calls = {"value": cell.value} | ({} if operator == "value" else {"gradient": cell.derivative})
    by_hand = {"value": cell.value_by_hand, "gradient": cell.derivative_by_hand}
    last = list(calls)[-1]
    bare = {name: clock.looped(call, cell.synchronise) for name, call in calls.items()}
    longest = max(run(1) for run in bare.values())
    runs: dict[str, clock.Run] = {}
    for name, run in bare.items():
        runs[name] = run
        if longest < LONG_CALL:
            runs[f"by_hand_{name}"] = by_hand[name]  # side by side: they are compared most closely
    if cell.by_events is not None:
        runs |= {f"events_{name}": cell.by_events(call) for name, call in calls.items()}
    states = [monitor.state("before")] if monitor else []
    taken = clock.sample(runs, samples, seconds)
    states += [monitor.state("after")] if monitor else []
    found: dict[str, Any] = {name: sampled.seconds for name, sampled in taken.items()}
    for name in calls:
        found[f"loops_{name}"] = taken[name].loops
        found[f"warm_up_{name}"], found[f"settled_{name}"] = taken[name].warm_up, taken[name].settled
    if cell.place is not None:
        count = TRANSFERS if longest < LONG_CALL else 1
        fetch = cell.fetch_value if operator == "value" else cell.fetch
        found["to_device"], found["to_host"] = transfers(cell, cell.place, calls[last], fetch, count)
    told: dict[str, Any] = {}
    if monitor is not None and seconds > 0:
        energy, meanwhile = monitor.energy(bare[last])
        states += meanwhile
        if energy is not None:
            told = {"joules": energy.joules / energy.calls, "energy_calls": energy.calls}
            told["energy_seconds"] = energy.seconds
    if cell.round_trips is not None:
        told |= {f"round_trips_{name}": cell.round_trips(call) for name, call in calls.items()}
    return Seconds(**found), Gpu(states=states, **told)


def transfers(
    cell: Prepared, place: Callable[[], Any], call: Callable[[], Any], fetch: Callable[[Any], Any], count: int
) -> tuple[list[float], list[float]]:
    """Raw seconds of moving all inputs to the device, and a complete result of ``call`` to the host."""
    there = [clock.timed(place, cell.synchronise)[0] for _ in range(count)]
    back = []
    for _ in range(count):  # each time another result: what has been fetched once may be kept on the host
        _, result = clock.timed(call, cell.synchronise)
        back.append(clock.timed(partial(fetch, result), lambda _: None)[0])
    return there, back
