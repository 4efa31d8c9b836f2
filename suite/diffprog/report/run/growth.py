"""How time and memory grow with the size of a problem: the points, and the exponents of power laws through them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from diffprog import tasks
from diffprog.errors import UsageError

SERIES = ("task", "variant", "backend", "method", "operator", "engine", "precision", "device")
"""What is held fixed while the size grows."""
QUANTITIES = {"value": "value_median_s", "gradient": "gradient_median_s", "memory": "memory_bytes"}
"""Column of the points, by the name of what is fitted."""
LEAST_MEMORY = 2**20
"""Bytes. Less than this above what the worker held before says more about its allocator than about the task."""

_POINTS = (*SERIES, "size", "extent_name", "extent", *QUANTITIES.values())
_FITS = ("exponent", "sizes")


def points(cells: pd.DataFrame) -> pd.DataFrame:
    """One row for each size of every series that has at least two; ``cells`` is the table of that name.

    ``value_median_s`` and ``gradient_median_s`` are in seconds. ``memory_bytes`` is the peak of the host's memory above
    what the worker held before the cell, missing below LEAST_MEMORY. Over several seeds it is the median of each. Only
    cells that agree are counted: what a wrong answer costs is of no interest.
    """
    found = cells[cells["outcome"] == "ok"].copy()
    known = [extent(*key) for key in found[["task", "variant", "size"]].itertuples(index=False)]
    found["extent_name"] = [name for name, _ in known]
    found["extent"] = [number for _, number in known]
    found["extent"] = found["extent"].astype("float64")
    memory = (found["host_peak_bytes"] - found["host_before_bytes"]).astype("float64")
    found["memory_bytes"] = memory.where(memory >= LEAST_MEMORY)
    found = found.dropna(subset=["extent"]).dropna(subset=list(QUANTITIES.values()), how="all")
    keys = [*SERIES, "size", "extent_name", "extent"]
    found = found.groupby(keys, sort=False, as_index=False)[list(QUANTITIES.values())].median()
    series = found.groupby(list(SERIES), sort=False)
    # Series in their order of appearance, the sizes of each in order: a run may have taken them in another.
    found = found.assign(rank=series.ngroup())[series["extent"].transform("nunique") > 1]
    return found.sort_values(["rank", "extent"])[list(_POINTS)].reset_index(drop=True)


def extent(task: str, variant: str, size: str) -> tuple[str, float]:
    """What the cost grows with; NaN for records of a case that the suite does not have any more."""
    try:
        declared = tasks.get(task)
        return declared.extent(declared.configure(variant, size))
    except UsageError:
        return "", math.nan


def exponents(points: pd.DataFrame) -> pd.DataFrame:
    """One row a series: for each quantity the exponent (no unit) and the number of sizes behind it.

    Missing where fewer than two sizes were measured; two sizes give an exponent that nothing has tested.
    """
    rows = []
    for key, group in points.groupby(list(SERIES), sort=False):
        row = dict(zip(SERIES, key, strict=True))
        row |= {"extent_name": group["extent_name"].iloc[0]}
        row |= {"smallest": group["extent"].min(), "largest": group["extent"].max()}
        for name, column in QUANTITIES.items():
            row[f"{name}_exponent"], row[f"{name}_sizes"] = power(group["extent"], group[column])
        rows.append(row)
    fitted = [f"{name}_{what}" for name in QUANTITIES for what in _FITS]
    frame = pd.DataFrame(rows, columns=[*SERIES, "extent_name", "smallest", "largest", *fitted])
    return frame.astype({name: "int64" if name.endswith("_sizes") else "float64" for name in fitted})


def power(extent: pd.Series, quantity: pd.Series) -> tuple[float, int]:
    """The p of quantity ~ extentᵖ by least squares in log-log, NaN below two points; and the number of points."""
    measured = quantity > 0
    x, y = (np.log(series[measured].to_numpy(dtype=np.float64)) for series in (extent, quantity))
    if len(np.unique(x)) < 2:
        return math.nan, len(x)
    x = x - x.mean()
    return float(x @ (y - y.mean()) / (x @ x)), len(x)
