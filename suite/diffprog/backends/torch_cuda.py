"""What PyTorch offers on CUDA devices alone: events, the count of its own waits, CUDA graphs.

``torch`` is an argument, so that what is decided here can be tested where there is no such device.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from diffprog.measure.clock import Run

WARM_UP = 3
"""Calls on a side stream before a graph is recorded, as PyTorch's notes on CUDA demand: libraries set themselves up."""
WAITED = "called a synchronizing CUDA operation"
"""What PyTorch warns with."""


def by_events(torch: Any, call: Callable[[], Any]) -> Run:
    """Times n calls, each complete before the next, by events on the device's own clock (resolution about 0.5 µs)."""

    def run(calls: int) -> float:
        total = 0.0
        for _ in range(calls):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            end.synchronize()
            total += start.elapsed_time(end)  # in ms
        return total / 1000

    return run


def round_trips(torch: Any, call: Callable[[], Any]) -> int:
    """How often the host waits for the device within a call: PyTorch's own waits, not those within cuSOLVER."""
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            call()
    finally:
        torch.cuda.set_sync_debug_mode("default")
        torch.set_warn_always(always)
    return sum(WAITED in str(one.message) for one in told)


def captured(torch: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` as a CUDA graph, recorded at its first call and replayed at every one.

    A graph reads the memory it was recorded with: later calls take the same arguments, and write their results where
    the first one did.
    """
    graph: Any = None
    results: Any = None

    def replayed(*arguments: Any) -> Any:
        nonlocal graph, results
        if graph is None:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    function(*arguments)
            torch.cuda.current_stream().wait_stream(side)
            recording = torch.cuda.CUDAGraph()
            with torch.cuda.graph(recording):
                results = function(*arguments)
            graph = recording
        graph.replay()
        return results

    return replayed
