"""The share of the roofline that cells reach, by size: one panel a task, variant, precision and device."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from diffprog.drawing import style
from diffprog.spec import SIZES

_GREY = "#666666"
_LINES = ("-", "--", ":", "-.")


def draw(cells: pd.DataFrame) -> dict[str, Figure]:
    """``roofline`` from the table of cells: floor / time of agreeing gradients and values; nothing without floors."""
    shown = cells[(cells["outcome"] == "ok") & (cells["operator"] == "gradient")]
    shown = shown.dropna(subset=["value_over_floor", "gradient_over_floor"], how="all")
    groups = list(shown.groupby(["task", "variant", "precision", "device"], sort=False))
    if not groups:
        return {}
    rows = -(-len(groups) // 2)
    figure = style.figure(2.9 * rows + 0.6)
    for index, ((task, variant, precision, device), group) in enumerate(groups):
        axes = figure.add_subplot(rows, 2, index + 1)
        axes.set_title(f"{task}-{variant}\n{precision} on {device}", loc="left")
        sizes = [size for size in SIZES if size in set(group["size"])]
        lines = dict(zip(dict.fromkeys(group["method"]), _LINES * len(group), strict=False))
        for (backend, method, _engine), series in group.groupby(["backend", "method", "engine"], sort=False):
            for name, hollow in (("value", True), ("gradient", False)):
                # Over several seeds the median stands.
                share = (1 / series.set_index("size")[f"{name}_over_floor"].astype("float64")).groupby("size").median()
                share = share.reindex(sizes).dropna()
                shade = style.colour(backend)
                axes.plot(
                    [sizes.index(size) for size in share.index], share, color=shade, linestyle=lines[method],
                    marker=style.MARKERS.get(backend, "v"), markersize=5, linewidth=0.9 if hollow else 1.6,
                    markerfacecolor="white" if hollow else shade,
                )  # fmt: skip
        axes.axhline(1, color="#222222", linestyle="--", linewidth=1)
        axes.set_yscale("log")
        axes.set_ylim(top=2)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
        axes.set_xticks(range(len(sizes)), sizes)
        axes.set_xlim(-0.3, len(sizes) - 0.7)
        axes.set_ylabel("floor / time")
        axes.grid(axis="y")
        handles = [Line2D([], [], color=_GREY, linestyle=line, label=method) for method, line in lines.items()]
        axes.legend(handles=handles, loc="lower right", fontsize=8)
    handles = [
        Line2D([], [], color=style.colour(name), marker=style.MARKERS.get(name, "v"), lw=2, label=name)
        for name in dict.fromkeys(shown["backend"])
    ]
    handles += [
        Line2D([], [], color=_GREY, linestyle="", marker="o", markerfacecolor="white", label="hollow: value"),
        Line2D([], [], color=_GREY, linestyle="", marker="o", label="filled: value and gradient"),
        Line2D([], [], color="#222222", linestyle="--", label="the floor"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return {"roofline": figure}
