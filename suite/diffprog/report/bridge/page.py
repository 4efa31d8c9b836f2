"""The report of the bridge to Julia: what crossing costs, by size and way, and how near that is to the goals."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from matplotlib.figure import Figure

from diffprog import format
from diffprog.drawing import style
from diffprog.errors import UsageError
from diffprog.interop.price import WAYS, Price, Prices
from diffprog.report import rendering

FOLDER = "prices"
ABOVE_JULIACALL = 5e-6
"""Goal: what a call with one number may cost beyond juliacall's own, s."""
WORKER_CALL = 100e-6
"""Goal: what such a call may cost through a worker, s."""
NAMES = {
    "in_process": "in this process",
    "own_thread": "in this process, own thread",
    "worker": "a worker",
    "juliacall": "juliacall",
    "julia": "within Julia",
    "numpy": "NumPy",
    "torch": "PyTorch",
}
COLOURS = {"in_process": "#D55E00", "own_thread": "#E69F00", "worker": "#0072B2", "juliacall": "#CC79A7"}
DRAWN = ("there", "there and back", "torch operation and its pullback")


@dataclass(frozen=True)
class Goal:
    """A line about what was aimed at: what it is, what was measured, and whether it was reached."""

    what: str
    found: str
    reached: bool


def read(folder: Path) -> dict[str, Prices]:
    """What was measured, by way.

    Raises:
        UsageError: if there is nothing, or it cannot be read.
    """
    found = {}
    for way in WAYS:
        path = folder / FOLDER / f"{way}.json"
        if path.exists():
            try:
                found[way] = msgspec.json.decode(path.read_bytes(), type=Prices)
            except (OSError, msgspec.DecodeError) as error:
                raise UsageError(f"cannot read {path} ({error})") from error
    if not found:
        raise UsageError(f"{folder} holds no prices of the bridge: there is nothing to report")
    return found


def frame(prices: dict[str, Prices]) -> pd.DataFrame:
    """One row a price: its name and size, median, quartiles and minimum in s, and the count of its samples."""
    rows: list[dict[str, Any]] = []
    for process, measured in prices.items():
        for price in measured.prices:
            samples = pd.Series(price.seconds)
            rows.append(
                {
                    "way": price.way,
                    "process": process,
                    "what": price.what,
                    "size": price.size,
                    "median": samples.median(),
                    "lower": samples.quantile(0.25),
                    "upper": samples.quantile(0.75),
                    "minimum": samples.min(),
                    "samples": len(samples),
                }
            )
    return pd.DataFrame(rows)


def _median(prices: dict[str, Prices], process: str, way: str, what: str, size: int | None = None) -> float | None:
    measured: list[Price] = prices[process].prices if process in prices else []
    return next(
        (p.median for p in measured if (p.way, p.what) == (way, what) and (size is None or p.size == size)), None
    )


def goals(prices: dict[str, Prices]) -> list[Goal]:
    """The goals whose measurements are there."""
    found = []
    ours = _median(prices, "in_process", "in_process", "number")
    theirs = _median(prices, "in_process", "juliacall", "number")
    if ours is not None and theirs is not None:
        text = (
            f"{format.seconds(ours)} against {format.seconds(theirs)} ({format.ratio(ours / theirs)}): "
            f"{(ours - theirs) * 1e6:+.1f} µs"
        )
        what = "A call with one number in this process: at most 5 µs above juliacall's own"
        found.append(Goal(what, text, ours - theirs <= ABOVE_JULIACALL))
    if "in_process" in prices:
        copies = prices["in_process"].copies
        found.append(Goal("Copies of contiguous float64 arrays in this process: none", f"{copies}", copies == 0))
    call = _median(prices, "worker", "worker", "number")
    if call is not None:
        what = "A call with one number through a worker: at most 100 µs"
        found.append(Goal(what, format.seconds(call), call <= WORKER_CALL))
    return found


def crossings(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of medians by what and way, with a column a size."""
    chosen = table[(table["size"] > 0) & table["what"].isin([*DRAWN, "return", "callback", "copy", "DLPack", "number"])]
    rows = []
    for (what, way), members in chosen.groupby(["what", "way"], sort=False):
        by_size = dict(zip(members["size"], members["median"], strict=True))
        rows.append({"what": what, "way": NAMES[way], "by_size": by_size})
    return sorted(rows, key=lambda row: str(row["what"]))


def programs(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the suite's tasks through each way: value and gradient, and the ratio to the same within Julia."""
    inside = {(r["process"], r["what"]): r["median"] for _, r in table[table["way"] == "julia"].iterrows()}
    rows = []
    for _, row in table.iterrows():
        base = inside.get((row["process"], row["what"]))
        if base is not None and row["way"] != "julia":
            first = table[(table["process"] == row["process"]) & (table["what"] == f"{row['what']}: first call")]
            rows.append(
                {
                    "what": row["what"],
                    "way": NAMES[row["way"]],
                    "median": row["median"],
                    "inside": base,
                    "first": float(first["median"].iloc[0]) if len(first) and row["way"] != "juliacall" else None,
                }
            )
    return sorted(rows, key=lambda row: str(row["what"]))


def draw(table: pd.DataFrame) -> Figure:
    """The time of a crossing against the number of doubles, log-log."""
    figure = style.figure(3.9)
    for axes, what in zip(figure.subplots(1, len(DRAWN), sharey=True), DRAWN, strict=True):
        for way, colour in COLOURS.items():
            chosen = table[(table["what"] == what) & (table["way"] == way)].sort_values("size")
            if len(chosen):
                axes.loglog(
                    chosen["size"], chosen["median"] * 1e6, "o-", markersize=3.5, color=colour, label=NAMES[way]
                )
        copy = table[(table["what"] == "copy") & (table["way"] == "numpy")].sort_values("size")
        if len(copy):
            axes.loglog(copy["size"], copy["median"] * 1e6, ":", color=style.OTHER, label="NumPy's copy of as many")
        axes.set(title=what, xlabel="doubles")
        axes.grid(True)
    figure.axes[0].set_ylabel("µs a call")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    return figure


def _machine(path: Path) -> dict[str, Any]:
    """What the pages say of the machine, each a text; empty if it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: str(found.get(name, "")) for name in ("cpu", "cores", "platform", "python", "suite", "commit")}
    except (OSError, ValueError, AttributeError):
        return {}


def write(folder: Path) -> Path:
    """Writes tables/prices.csv, figures/bridge.png, summary.md and index.html; returns the path of the page.

    Raises:
        UsageError: if there are no prices, or the report cannot be written.
    """
    prices = read(folder)
    table = frame(prices)
    try:
        (folder / "tables").mkdir(exist_ok=True)
        table.to_csv(folder / "tables" / "prices.csv", index=False)
        with style.settings():
            picture = style.save(draw(table), folder / "figures", "bridge")
        shared = {
            "title": "The price of the bridge to Julia",
            "goals": goals(prices),
            "crossings": crossings(table),
            "sizes": sorted(
                {size for size in table["size"] if size > 0 and size in set(table[table["what"] == "there"]["size"])}
            ),
            "programs": programs(table),
            "starts": [(NAMES[p.way], p.median) for m in prices.values() for p in m.prices if p.what == "start"],
            "missing": [NAMES[way] for way in WAYS if way not in prices],
            "picture": picture,
            "versions": next(iter(prices.values())).versions,
            "machine": _machine(folder / "environment.json"),
            "colours": style.COLOURS,
        }
        for template, name in (("bridge/bridge.html.j2", "index.html"), ("bridge/bridge.md.j2", "summary.md")):
            rendering.replace(folder / name, rendering.render(template, **shared))
    except OSError as error:
        raise UsageError(f"cannot write the report into {folder}: {error}") from error
    return folder / "index.html"
