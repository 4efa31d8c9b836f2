"""What the GPU page shows, from the table of cells: the ratio to the CPU, what is worth a warning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from diffprog import tasks
from diffprog.records.cells import Record
from diffprog.report.outcomes import ABSENCES
from diffprog.report.run import growth
from diffprog.spec import dtype

APART = 0.1
"""Relative. The host's clock and the device's events may differ by this: more is a discrepancy, and shown as one."""
LATENCY = 3e-5
"""Seconds that they may differ by however short the call: the host learns of the end of the work so much later."""
_SAME = ["case", "backend", "method", "operator", "precision"]


def apart(clock: float | None, events: float | None) -> bool:
    """Whether two times of one call, in seconds, contradict each other. Missing ones do not."""
    if clock is None or events is None or pd.isna(clock) or pd.isna(events):
        return False
    return bool(abs(events - clock) > max(APART * clock, LATENCY if events < clock else 0.0))


def compared(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells on ``cuda``, each with its own backend's times on the CPU beside it, where these are known and right.

    New columns: ``value_cpu_s`` and ``gradient_cpu_s`` (seconds), ``value_speedup`` and ``gradient_speedup`` (no unit:
    CPU time over GPU time), ``extent`` and ``extent_name`` (what the cost grows with). An engine or a precision that
    the CPU has not is compared with the default engine, or with float32.
    """
    timed = cells[(cells["device"] == "cpu") & (cells["outcome"] == "ok")]
    known: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in timed.to_dict("records"):
        name = tuple(row[field] for field in _SAME)
        known[(*name, row["engine"])] = row
    found = cells[cells["device"] == "cuda"].copy()
    added = []
    for row in found.to_dict("records"):
        name = (*(row[field] for field in _SAME[:-1]), dtype(row["precision"]))
        usual = tasks.engine(row["backend"], row["task"], row["operator"])
        host = known.get((*name, row["engine"])) or known.get((*name, usual)) or {}
        extent_name, extent = growth.extent(row["task"], row["variant"], row["size"])
        new: dict[str, Any] = {"extent_name": extent_name, "extent": extent}
        for what in ("value", "gradient"):
            ours, theirs = row[f"{what}_median_s"], host.get(f"{what}_median_s", np.nan)
            new |= {f"{what}_cpu_s": theirs, f"{what}_speedup": theirs / ours if ours and ours > 0 else np.nan}
        added.append(new)
    names = ("extent_name", "extent", "value_cpu_s", "value_speedup", "gradient_cpu_s", "gradient_speedup")
    beside = pd.DataFrame(added, columns=list(names), index=found.index)
    numbers = [name for name in names if name != "extent_name"]
    return found.join(beside.astype(dict.fromkeys(numbers, "float64")))


def verdict(records: Sequence[Record]) -> tuple[str, str]:
    """One sentence about the cells on ``cuda``, and its colour."""
    asked = [record for record in records if record.device == "cuda"]
    outcomes = [record.outcome for record in asked]
    ran = [outcome for outcome in outcomes if outcome not in ABSENCES]
    if not ran:
        return f"There is no GPU here that could be used: none of the {len(asked)} cells on cuda was run.", "none"
    good = ran.count("ok")
    names = dict.fromkeys(r.provenance.gpu for r in asked if r.provenance and r.provenance.gpu)
    on = f" on {', '.join(names)}" if names else ""
    agree = "agree" if good != 1 else "agrees"
    text = f"{good} of {len(ran)} cells{on} {agree} with the CPU's float64 reference."
    missing = outcomes.count("unavailable")
    return text + (f" {missing} were unavailable." if missing else ""), "good" if good == len(ran) else "bad"


def warnings(row: dict[str, Any]) -> list[str]:
    """Why a cell's times are to be read with care, in words."""
    found = []
    for what in ("value", "gradient"):
        if apart(row[f"{what}_median_s"], row[f"{what}_events_s"]):
            found.append(f"{what}: the device's events and the host's clock differ")
        if row[f"{what}_settled"] is False:
            found.append(f"{what}: not steady after the warm-up")
        if row[f"{what}_noisy"]:
            found.append(f"{what}: noisy")
    if row["slowed"]:
        found.append(f"clocks lowered: {row['slowed']}")
    return found
