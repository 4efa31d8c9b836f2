"""The figure of time and memory against size: one row a task, variant, precision and device, both axes logarithmic."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter, NullLocator

from diffprog.drawing import style
from diffprog.report.run.growth import SERIES

_STYLES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "v"))
"""Line and marker by method: a size that is alone in its panel has no line."""
_GREY = "#666666"


def draw(points: pd.DataFrame) -> dict[str, Figure]:
    """``growth`` from the table of that name; nothing if no series has two sizes."""
    groups = list(points.groupby(["task", "variant", "precision", "device"], sort=False))
    if not groups:
        return {}
    figure = style.figure(2.9 * len(groups) + 0.5)
    panels = figure.subplots(len(groups), 2, squeeze=False)
    for (time, memory), ((task, variant, precision, device), group) in zip(panels, groups, strict=True):
        methods = dict(zip(dict.fromkeys(group["method"]), _STYLES * len(group), strict=False))
        _lines(time, group, "value_median_s", methods, hollow=True)
        _lines(time, group, "gradient_median_s", methods)
        _lines(memory, group.assign(memory_mib=group["memory_bytes"] / 2**20), "memory_mib", methods)
        for axes, name, unit in (
            (time, "time of one call", EngFormatter(unit="s")),
            (memory, "peak host memory", FuncFormatter(lambda x, _: f"{x:g} MiB")),
        ):
            axes.set_title(f"{task}-{variant}: {name}\n{precision} on {device}", loc="left")
            axes.set_xlabel(f"{group['extent_name'].iloc[0]}, logarithmic")
            _logarithmic(axes, sorted(set(group["extent"])), unit)
        handles = [
            Line2D([], [], color=_GREY, linestyle=line, marker=marker, markersize=5, label=method)
            for method, (line, marker) in methods.items()
        ]
        time.legend(handles=handles, loc="lower right", fontsize=8)
    handles = [Line2D([], [], color=style.colour(name), lw=3, label=name) for name in dict.fromkeys(points["backend"])]
    handles += [
        Line2D([], [], color=_GREY, linestyle="", marker="o", markerfacecolor="white", label="hollow: value"),
        Line2D([], [], color=_GREY, linestyle="", marker="o", label="filled: value and gradient"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return {"growth": figure}


def _lines(
    axes: Axes, group: pd.DataFrame, column: str, methods: dict[str, tuple[str, str]], *, hollow: bool = False
) -> None:
    for _, series in group.dropna(subset=[column]).groupby(list(SERIES), sort=False):
        shade = style.colour(series["backend"].iloc[0])
        line, marker = methods[series["method"].iloc[0]]
        axes.plot(
            series["extent"], series[column], color=shade, linestyle=line,
            linewidth=0.9 if hollow else 1.6, marker=marker, markersize=5, markerfacecolor="white" if hollow else shade,
        )  # fmt: skip


def _logarithmic(axes: Axes, extents: list[float], unit: EngFormatter | FuncFormatter) -> None:
    """Logarithmic axes; the sizes themselves are the ticks of the horizontal one."""
    axes.set_xscale("log")
    count = EngFormatter()
    axes.set_xticks(extents, [count(float(f"{extent:.3g}")) for extent in extents])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(extents[0] / 1.3, extents[-1] * 1.3)
    if not axes.lines:
        axes.text(0.5, 0.5, "nothing above 1 MiB", transform=axes.transAxes, ha="center", color=_GREY)
        axes.set_yticks([])
        return
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set_major_formatter(unit)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid()
