"""Figures of the GPU page: time, speed-up, memory and energy against size, one row a task, variant and precision."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter, NullLocator

from diffprog.drawing import style

_GREY = "#666666"
_MARKS = ("o", "s", "^", "v", "P", "X")


def draw(compared: pd.DataFrame) -> dict[str, Figure]:
    """``gpu_times`` and ``gpu_costs`` from `report.gpu.tables.compared`: agreeing gradients; nothing without any."""
    shown = compared[(compared["outcome"] == "ok") & (compared["operator"] == "gradient")]
    shown = shown.dropna(subset=["extent", "gradient_median_s"])
    if shown.empty:
        return {}
    shown = shown.assign(
        memory_mib=shown["device_peak_bytes"].astype("float64") / 2**20,
        # The engine where it is not the default: the label without the backend.
        way=[label.split(" · ", 1)[1] for label in shown["label"]],
    )
    found = {"gpu_times": _figure(shown, (_times, _speedups))}
    if shown[["memory_mib", "energy_j"]].notna().any(axis=None):
        found["gpu_costs"] = _figure(shown, (_memory, _energy))
    return found


def _figure(shown: pd.DataFrame, draws: tuple[_Draw, _Draw]) -> Figure:
    groups = list(shown.groupby(["task", "variant", "precision"], sort=False))
    figure = style.figure(2.9 * len(groups) + 0.6)
    panels = figure.subplots(len(groups), 2, squeeze=False)
    for row, ((task, variant, precision), group) in zip(panels, groups, strict=True):
        ways = dict.fromkeys(group["way"])
        marks = dict(zip(ways, _MARKS * len(ways), strict=False))
        for axes, how in zip(row, draws, strict=True):
            axes.set_title(f"{task}-{variant}, {precision}", loc="left")
            how(axes, group, marks)
            axes.set_xlabel(f"{group['extent_name'].iloc[0]}, logarithmic")
            _logarithmic(axes, sorted(set(group["extent"])))
        handles = [
            Line2D([], [], color=_GREY, linestyle="", marker=mark, markersize=5, label=way)
            for way, mark in marks.items()
        ]
        row[0].legend(handles=handles, loc="best", fontsize=7.5)
    handles = [Line2D([], [], color=style.colour(name), lw=3, label=name) for name in dict.fromkeys(shown["backend"])]
    if draws[0] is _times:
        handles += [
            Line2D([], [], color=_GREY, linestyle=":", label="the same backend on the CPU"),
            Line2D([], [], color=_GREY, linestyle="", marker="o", markerfacecolor="white", label="hollow: value"),
            Line2D([], [], color=_GREY, linestyle="", marker="o", label="filled: value and gradient"),
        ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


class _Draw:
    """What a panel shows."""

    def __init__(self, unit: EngFormatter | FuncFormatter, label: str, *lines: tuple[str, str, bool]) -> None:
        self.unit, self.label, self.lines = unit, label, lines

    def __call__(self, axes: Axes, group: pd.DataFrame, marks: dict[str, str]) -> None:
        for column, line, hollow in self.lines:
            for (backend, way), series in group.groupby(["backend", "way"], sort=False):
                points = series.dropna(subset=[column]).groupby("extent")[column].median()
                shade = style.colour(backend)
                axes.plot(
                    points.index, points, color=shade, linestyle=line, linewidth=0.9 if hollow else 1.6,
                    marker=marks[way] if line == "-" else None, markersize=5,
                    markerfacecolor="white" if hollow else shade,
                )  # fmt: skip
        axes.set_ylabel(self.label)
        axes.yaxis.set_major_formatter(self.unit)


_times = _Draw(
    EngFormatter(unit="s"), "time of one call", ("gradient_cpu_s", ":", False), ("value_median_s", "-", True),
    ("gradient_median_s", "-", False),
)  # fmt: skip
_speedups = _Draw(
    FuncFormatter(lambda x, _: f"{x:g}×"), "CPU time / GPU time", ("value_speedup", "-", True),
    ("gradient_speedup", "-", False),
)  # fmt: skip
_memory = _Draw(FuncFormatter(lambda x, _: f"{x:g} MiB"), "peak device memory", ("memory_mib", "-", False))
_energy = _Draw(EngFormatter(unit="J"), "energy of one gradient", ("energy_j", "-", False))


def _logarithmic(axes: Axes, extents: list[float]) -> None:
    """Both axes logarithmic; the sizes themselves are the ticks of the horizontal one."""
    formatter = axes.yaxis.get_major_formatter()
    axes.set_xscale("log")
    count = EngFormatter()
    axes.set_xticks(extents, [count(float(f"{extent:.3g}")) for extent in extents])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(extents[0] / 1.3, extents[-1] * 1.3)
    if not any(np.size(line.get_xdata()) for line in axes.lines):
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=_GREY)
        axes.set_yticks([])
        return
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set_major_formatter(formatter)
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid()
