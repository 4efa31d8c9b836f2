"""The figures that compare cells: times, gradient / value ratios, agreement, and what the harness costs."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from diffprog.drawing import style
from diffprog.drawing.style import ALARM
from diffprog.format import ratio, tax
from diffprog.report.run.goals import CHEAP, goal

TAX = 1.02
"""The goal for the harness: at most 2 % above the same function in a bare loop."""

_GREY = "#666666"


def draw(cells: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Figure]:
    """The figures for which there are numbers, by file name."""
    drawn = {"times": times(cells), "ratios": ratios(cells), "agreement": agreement(pairs), "harness": harness(cells)}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _heading(case: str, precision: str, device: str) -> str:
    return f"{case}\n{precision} on {device}"


def _panels(cells: pd.DataFrame, needed: list[str], row: Callable[[Axes, int, pd.Series], None]) -> Figure | None:
    """One panel a case, precision and device; in it one line a cell, labelled with backend and method."""
    shown = cells[cells[needed].notna().any(axis=1)]
    groups = list(shown.groupby(["case", "precision", "device"], sort=False))
    if not groups:
        return None
    columns = min(2, len(groups))
    tall = [max(len(g) for _, g in groups[i : i + columns]) for i in range(0, len(groups), columns)]
    figure = style.figure(sum(0.27 * lines + 1.05 for lines in tall) + 0.5)
    grid = figure.add_gridspec(len(tall), columns, height_ratios=[lines + 3 for lines in tall])
    for index, (key, group) in enumerate(groups):
        axes = figure.add_subplot(grid[divmod(index, columns)])
        axes.set_title(_heading(*key), loc="left")
        for line, (_, cell) in enumerate(group.iterrows()):
            row(axes, line, cell)
        axes.set_yticks(range(len(group)), group["label"])
        for text, backend in zip(axes.get_yticklabels(), group["backend"], strict=True):
            text.set_color(style.colour(backend))
        axes.set_ylim(len(group) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
    return figure


def times(cells: pd.DataFrame) -> Figure | None:
    """Median seconds of a call with the quartiles as whiskers, on a logarithmic axis."""

    def row(axes: Axes, line: int, cell: pd.Series) -> None:
        for quantity, marker, face in (("value", "o", "white"), ("gradient", "D", style.colour(cell["backend"]))):
            median = cell[f"{quantity}_median_s"]
            if pd.notna(median):
                whiskers = [[median - cell[f"{quantity}_q1_s"]], [cell[f"{quantity}_q3_s"] - median]]
                axes.errorbar(
                    median, line, xerr=whiskers, fmt=marker, markersize=6.5, capsize=3,
                    color=style.colour(cell["backend"]), markerfacecolor=face, markeredgewidth=1.4,
                )  # fmt: skip

    figure = _panels(cells, ["value_median_s", "gradient_median_s"], row)
    if figure is None:
        return None
    for axes in figure.axes:
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, 10 ** np.floor(np.log10(low) + 0.3)), max(high, 10 ** np.ceil(np.log10(high) - 0.3)))
        axes.xaxis.set_major_formatter(EngFormatter(unit="s"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("time of one call, logarithmic")
    handles = [
        Line2D([], [], color=_GREY, linestyle="", marker="o", markerfacecolor="white", label="value (median)"),
        Line2D([], [], color=_GREY, linestyle="", marker="D", label="value and gradient (median)"),
        Line2D([], [], marker="|", markersize=9, color=_GREY, label="whiskers: quartiles"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure


def _against(
    cells: pd.DataFrame,
    columns: dict[str, str],
    allowed: Callable[[pd.Series], float],
    name: str,
    write: Callable[[float], str],
    *,
    log: bool,
) -> Figure | None:
    """Ratios (``columns``: name to marker) beside a dashed line at what is allowed; what exceeds it is in red."""

    def row(axes: Axes, line: int, cell: pd.Series) -> None:
        most = allowed(cell)
        axes.plot([most, most], [line - 0.5, line + 0.5], color="#222222", linestyle="--", linewidth=1)
        for column, marker in columns.items():
            number = cell[column]
            if pd.notna(number):
                shade = style.colour(cell["backend"])
                axes.plot([most, number], [line, line], color=shade, linewidth=1, alpha=0.6)
                axes.plot(number, line, marker, color=shade, markersize=7)
        worst = cell[list(columns)].max()
        axes.annotate(
            write(worst), (1.01, line), xycoords=("axes fraction", "data"), va="center", fontsize=9,
            color=ALARM if worst > most else "#222222", fontweight="bold" if worst > most else "normal",
        )  # fmt: skip

    figure = _panels(cells, list(columns), row)
    if figure is None:
        return None
    for axes in figure.axes:
        axes.set_xlabel(name)
        if log:
            axes.set_xscale("log")
            low, high = axes.get_xlim()
            axes.set_xlim(min(low, 0.9), max(high, 12))
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_xlim(min(axes.get_xlim()[0], 0.95), max(axes.get_xlim()[1] + 0.01, 1.05))
            axes.xaxis.set_major_locator(MaxNLocator(6))
    return figure


def ratios(cells: pd.DataFrame) -> Figure | None:
    """Median time of value and gradient over the median time of the value alone."""

    def allowed(cell: pd.Series) -> float:
        return goal(cell["task"], cell["method"])

    figure = _against(cells, {"gradient_over_value": "D"}, allowed, "gradient time / value time", ratio, log=True)
    if figure is not None:
        text = f"the task's goal, or {CHEAP:g}: the usual bound of reverse mode"
        handle = Line2D([], [], color="#222222", linestyle="--", label=text)
        figure.legend(handles=[handle], loc="outside upper left")
    return figure


def harness(cells: pd.DataFrame) -> Figure | None:
    """What the harness costs: its median over that of the same function in a bare loop."""
    columns = {"value_harness_tax": "o", "gradient_harness_tax": "D"}
    figure = _against(cells, columns, lambda cell: TAX, "time in the harness / time in a bare loop", tax, log=False)
    if figure is not None:
        handles = [
            Line2D([], [], marker="o", linestyle="", color=_GREY, label="value"),
            Line2D([], [], marker="D", linestyle="", color=_GREY, label="value and gradient"),
            Line2D([], [], color="#222222", linestyle="--", label=f"goal: at most {TAX:g}"),
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure


def agreement(pairs: pd.DataFrame) -> Figure | None:
    """The relative L2 difference of each pair of gradients or hvps; a red frame marks one above the tolerance."""
    groups = list(pairs.groupby(["case", "operator", "precision", "device"], sort=False))
    if not groups:
        return None
    names = [list(dict.fromkeys([*group["first"], *group["second"]])) for _, group in groups]
    columns = 2 if len(groups) > 1 and max(map(len, names)) <= 9 else 1
    tall = [max(map(len, names[i : i + columns])) for i in range(0, len(groups), columns)]
    figure = style.figure(sum(0.28 * (lines - 1) + 1.7 for lines in tall) + 0.9)
    grid = figure.add_gridspec(ceil(len(groups) / columns), columns, height_ratios=[lines + 5 for lines in tall])
    for index, ((key, group), cells) in enumerate(zip(groups, names, strict=True)):
        axes = figure.add_subplot(grid[divmod(index, columns)])
        mesh = _triangle(axes, group, cells)
        tolerances = sorted(set(group["tolerance"].dropna()))
        allowed = ", at most " + ", ".join(f"{t:.0e}" for t in tolerances) if tolerances else ""
        case, operator, *where = key
        axes.set_title(_heading(f"{case}: {operator}", *where) + allowed, loc="left")
    name = "log₁₀ of the relative L2 difference (no unit)"
    bar = figure.colorbar(mesh, ax=figure.axes, location="bottom", aspect=60, shrink=0.8, pad=0.02, label=name)
    for tolerance in sorted(set(pairs["tolerance"].dropna())):
        bar.ax.axvline(np.log10(tolerance), color=ALARM, linewidth=2.5)
    handles = [
        Rectangle(
            (0, 0), 1, 1, fill=False, edgecolor=ALARM, linewidth=2, label='above the tolerance (the title\'s "at most")'
        ),
        Line2D([], [], color=ALARM, linewidth=2.5, label="tolerance (on the colour bar)"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2)
    return figure


def _short(difference: float) -> str:
    """One significant digit, so that it fits into its square; the tables have them all."""
    return "0" if difference == 0 else f"{difference:.0e}" if np.isfinite(difference) else "nan"


def _triangle(axes: Axes, group: pd.DataFrame, cells: list[str]) -> QuadMesh:
    """The lower triangle: rows and columns are cells, the reference is the first column."""
    matrix = np.full((len(cells) - 1, len(cells) - 1), np.nan)
    for pair in group.itertuples():
        row, column = cells.index(pair.second) - 1, cells.index(pair.first)
        exponent = np.log10(pair.relative_l2) if pair.relative_l2 > 0 else -18.0
        matrix[row, column] = min(exponent, 2.0)
        axes.text(
            column, row, _short(pair.relative_l2), ha="center", va="center", fontsize=8.5,
            color="white" if exponent > -7 else "#111111",
        )  # fmt: skip
        if pair.relative_l2 > pair.tolerance:
            frame = Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False, edgecolor=ALARM, linewidth=2.2)
            frame.set_zorder(3)
            axes.add_patch(frame)
    edges = np.arange(len(cells)) - 0.5
    mesh = axes.pcolormesh(edges, edges, matrix, cmap="YlGnBu", vmin=-18, vmax=0, edgecolors="white", linewidth=1)
    axes.set_xticks(range(len(cells) - 1), cells[:-1], rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(cells) - 1), cells[1:])
    axes.set_xlim(-0.5, len(cells) - 1.5)
    axes.set_ylim(len(cells) - 1.5, -0.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return mesh
