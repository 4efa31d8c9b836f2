"""The work-precision diagram: error against a converged answer, over evaluations and over seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffprog.drawing import style

_LINES: Any = {"discrete": "-", "backsolve": "--", "library": ":"}
_FLOOR = 1e-17
"""An error of zero is drawn here."""


def read(path: Path) -> pd.DataFrame | None:
    """The table that ``diffprog precision`` wrote; None if there is none, or none that can be read."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError):
        return None
    return table if "gradient_error" in table else None


def draw(table: pd.DataFrame) -> Figure | None:
    """Value above and gradient below, over evaluations on the left and seconds on the right; None without points."""
    shown = table[table["gradient_error"].notna()]
    if shown.empty:
        return None
    figure = style.figure(7.2)
    figure.suptitle(f"{shown['case'].iloc[0]}: error against the converged answer", fontsize=11)
    grid = figure.subplots(2, 2, sharey="row")
    columns = (("evaluations", "right-hand sides and their products"), ("s", "seconds of one call"))
    for row, quantity in zip(grid, ("value", "gradient"), strict=True):
        for axes, (unit, label) in zip(row, columns, strict=True):
            for (backend, method), points in shown.groupby(["backend", "method"], sort=False):
                axes.plot(
                    points[f"{quantity}_{unit}"], points[f"{quantity}_error"].clip(lower=_FLOOR),
                    linestyle=_LINES.get(method, "-."), color=style.colour(backend), linewidth=1.4,
                    marker=style.MARKERS.get(backend, "o"), markersize=5, markerfacecolor="none",
                )  # fmt: skip
            axes.set(xscale="log", yscale="log", xlabel=label)
            axes.grid(visible=True)
        row[0].set_ylabel(f"relative error of the {quantity}")
    backends = [
        Line2D(
            [], [], color=style.colour(name), marker=style.MARKERS.get(name, "o"), markerfacecolor="none", label=name
        )
        for name in dict.fromkeys(shown["backend"])
    ]
    methods = [
        Line2D([], [], color=style.OTHER, linestyle=_LINES.get(name, "-."), label=name)
        for name in dict.fromkeys(shown["method"])
    ]
    figure.legend(
        handles=backends + methods, loc="outside lower center", ncols=len(backends) + len(methods), fontsize=9
    )
    return figure
