"""What is sampled of a cell: two clocks in turn, transfers apart, energy; with fakes for the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from diffprog.backends.base import Prepared
from diffprog.measure import gpu
from diffprog.records.cells import Gpu, GpuState
from diffprog.spec import Array
from diffprog.worker import steady


class Monitor(gpu.Monitor):
    def __init__(self) -> None:
        self.told: list[str] = []

    def state(self, when: str) -> GpuState:
        self.told.append(when)
        return GpuState(when=when)

    def energy(self, run: Callable[[int], float], *_: Any) -> tuple[gpu.Energy, list[GpuState]]:
        run(1)
        self.told.append("energy")
        return gpu.Energy(6.0, 3, 0.5), [GpuState(when="energy")]


def cell(events: list[str], **more: Any) -> Prepared:
    """A cell whose calls are noted; no time passes but on its fake devices."""

    def note(name: str, result: Any = None) -> Callable[..., Any]:
        def call(*_: Any) -> Any:
            events.append(name)
            return result

        return call

    def at(x: Array) -> Any:
        raise AssertionError

    return Prepared(
        value=note("value"), derivative=note("derivative"), synchronise=note("sync"),
        fetch_value=note("fetch value", 1.0), fetch=note("fetch", (1.0, np.ones(1))), value_at=at, gradient_at=at,
        outputs=dict, work=dict, value_by_hand=lambda calls: 0.01 * calls,
        derivative_by_hand=lambda calls: 0.01 * calls, made_with="nothing", **more,
    )  # fmt: skip


def test_on_the_host_there_is_one_clock_and_no_transfer() -> None:
    seconds, told = steady.take(cell([]), "gradient", 3, 0.0, None)
    assert len(seconds.value) == len(seconds.gradient) == 3
    assert seconds.by_hand_value == seconds.by_hand_gradient == [0.01] * 3
    assert seconds.events_value == seconds.to_device == seconds.to_host == []
    assert seconds.warm_up_value > 0 and seconds.settled_value is None
    assert told == Gpu()


def test_events_are_taken_beside_the_clock_and_transfers_apart_from_it() -> None:
    events: list[str] = []
    monitor, calls = Monitor(), dict[str, int]()

    def by_events(call: Callable[[], Any]) -> Callable[[int], float]:
        return lambda count: 0.25 * count

    def round_trips(call: Callable[[], Any]) -> int:
        events.clear()
        call()
        return calls.setdefault(events[0], 7 + len(calls))

    def place() -> str:
        events.append("place")
        return "placed"

    prepared = cell(events, place=place, by_events=by_events, round_trips=round_trips)
    seconds, told = steady.take(prepared, "gradient", 3, 0.01, monitor)
    assert seconds.events_value[:3] == seconds.events_gradient[:3] == [0.25] * 3
    assert len(seconds.events_value) == len(seconds.value)
    assert len(seconds.to_device) == len(seconds.to_host) == steady.TRANSFERS
    assert monitor.told == ["before", "after", "energy"]
    assert (told.joules, told.energy_calls, told.energy_seconds) == (2.0, 3, 0.5)
    assert (told.round_trips_value, told.round_trips_gradient) == (7, 8)
    assert [state.when for state in told.states] == ["before", "after", "energy"]


def test_a_result_is_complete_before_it_is_fetched_and_fetched_once() -> None:
    events: list[str] = []
    prepared = cell(events)
    there, back = steady.transfers(prepared, lambda: events.append("place"), prepared.derivative, prepared.fetch, 2)
    assert events == ["place", "sync", "place", "sync", *["derivative", "sync", "fetch"] * 2]
    assert len(there) == len(back) == 2


def test_no_energy_where_nothing_is_timed_for_long() -> None:
    monitor = Monitor()
    _, told = steady.take(cell([]), "value", 1, 0.0, monitor)
    assert monitor.told == ["before", "after"] and told.joules is None
