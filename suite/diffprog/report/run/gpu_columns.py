"""A GPU's columns of the table of cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffprog.records.cells import Record

COUNTS = ("value_warm_up", "gradient_warm_up", "value_round_trips", "gradient_round_trips")
TEXTS = ("slowed",)
CALM = ("idle", "application clocks", "display clocks")
"""Reasons for low clocks that are settings, or nothing to do."""


def columns(record: Record) -> dict[str, Any]:
    """A record's columns, for the table of cells: medians in seconds, energy in joules, clocks in MHz, °C."""
    time, gpu = record.seconds, record.gpu
    states = gpu.states if gpu else []
    busy = [state for state in states if state.when != "before"]
    clocks = [state.sm_mhz for state in busy if state.sm_mhz is not None]
    heat = [state.celsius for state in states if state.celsius is not None]
    slowed = dict.fromkeys(reason for state in busy for reason in state.slowed or () if reason not in CALM)
    energy = gpu.joules if gpu else None
    return {
        "value_warm_up": time.warm_up_value or None,
        "gradient_warm_up": time.warm_up_gradient or None,
        "value_settled": time.settled_value,
        "gradient_settled": time.settled_gradient,
        "value_events_s": _median(time.events_value),
        "gradient_events_s": _median(time.events_gradient),
        "to_device_s": _median(time.to_device),
        "to_host_s": _median(time.to_host),
        "energy_j": energy,
        "power_w": energy * gpu.energy_calls / gpu.energy_seconds if gpu and energy and gpu.energy_seconds else None,
        "sm_clock_min_mhz": min(clocks, default=None),
        "temperature_max_c": max(heat, default=None),
        "slowed": ", ".join(slowed),
        "value_round_trips": gpu.round_trips_value if gpu else None,
        "gradient_round_trips": gpu.round_trips_gradient if gpu else None,
    }


def _median(samples: Sequence[float]) -> float | None:
    return float(np.median(samples)) if samples else None
