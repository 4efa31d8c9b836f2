"""The game of ``adversarial`` as a picture: circuit and data over the patterns, and what the discriminator says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from diffprog.drawing import style
from diffprog.spec import Array

ALIKE = 0.5
"""D where circuit and data are equally likely."""


class Player(NamedTuple):
    """One backend's answer: p (2ⁿ,) and D (2ⁿ,)."""

    name: str
    backend: str
    distribution: Array
    discriminator: Array


def total_variation(distribution: Array, target: Array) -> float:
    """½ Σ |p − π|: the largest difference of the probabilities of an event."""
    return float(np.abs(distribution - target).sum() / 2)


def gathered(values: Array, target: Array, weights: Array) -> Array:
    """The values at the patterns of the data, and their mean over all others as often as the circuit makes them."""
    other = target == 0
    mean = np.average(values[other], weights=weights[other]) if weights[other].sum() > 0 else np.nan
    return np.append(values[~other], mean)


def draw(
    part: SubFigure, shape: tuple[int, int], target: Array, players: Sequence[Player], start: Player | None = None
) -> None:
    """Two panels over the patterns, which are drawn below as images of ``shape`` (rows, columns)."""
    above, below = part.subplots(2, 1, sharex=True)
    strings = np.flatnonzero(target)
    slots = np.arange(len(strings) + 1)
    above.bar(slots[:-1], target[strings], width=0.8, color="#C8C8C8", label="data π")
    for index, one in enumerate(players):
        # Coinciding lines: each next one is thinner, so that the ones below stay visible.
        look: Any = {"color": style.colour(one.backend), "linewidth": 5 * 0.65**index}
        p = one.distribution
        made = np.append(p[strings], p[target == 0].sum())
        above.hlines(made, slots - 0.4, slots + 0.4, label=one.name, **look)
        below.hlines(gathered(one.discriminator, target, p), slots - 0.4, slots + 0.4, **look)
    if start is not None:
        p = start.distribution
        dots: Any = {
            "linestyle": "none",
            "marker": "o",
            "markersize": 4,
            "markerfacecolor": "white",
            "color": "#222222",
        }
        above.plot(slots, np.append(p[strings], p[target == 0].sum()), label=start.name, **dots)
        below.plot(slots, gathered(start.discriminator, target, p), **dots)
    _bound(above, target, [*players, *([start] if start else [])])
    above.set(ylabel="probability", xlim=(-0.6, len(strings) + 0.6))
    above.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
    below.axhline(ALIKE, color="#222222", linestyle="--", linewidth=1)
    below.text(1.01, ALIKE, "½: cannot tell", transform=below.get_yaxis_transform(), va="center", fontsize=9)
    below.set(ylabel="D(x), held for data", ylim=(0, 1))
    for axes in (above, below):
        axes.axvline(len(strings) - 0.5, color="#888888", linewidth=0.8)
        axes.tick_params(axis="x", length=0, labelbottom=False)
    _label(below, shape, strings)


def _bound(axes: Axes, target: Array, players: Sequence[Player]) -> None:
    """The axis ends above the patterns' probabilities; what all others have beyond it is written there."""
    top = 1.4 * max(target.max(), *(one.distribution[target > 0].max() for one in players))
    axes.set_ylim(0, top)
    beyond = [one.distribution[target == 0].sum() for one in players]
    found = dict.fromkeys(f"{value:.2f}" for value in beyond if value > top)
    if found:
        text = "↑ " + ", ".join(found)
        axes.annotate(text, (np.count_nonzero(target), top), (0, -2), textcoords="offset points", ha="center", va="top")


def _label(axes: Axes, shape: tuple[int, int], strings: Array) -> None:
    """The patterns below the axes, qubit i the pixel i in C order, and a word for what is no pattern."""
    rows, columns = shape
    points = 72 * 0.7 * style.WIDTH / (len(strings) + 1)
    zoom = min(0.7 * points / columns, 26 / rows)
    for slot, string in enumerate(strings):
        pixels = 0.87 - 0.72 * ((int(string) >> np.arange(rows * columns)) & 1).reshape(shape)
        image = OffsetImage(pixels, zoom=zoom, cmap="gray", interpolation="nearest", resample=False)
        image.image.set_clim(0, 1)
        box = AnnotationBbox(
            image,
            (slot, 0),
            (0, -6),
            "data",
            boxcoords="offset points",
            box_alignment=(0.5, 1),
            pad=0.05,
            bboxprops={"edgecolor": "#888888", "linewidth": 0.6},
        )
        axes.add_artist(box)
    axes.annotate(
        "all\nothers", (len(strings), 0), (0, -6), textcoords="offset points", ha="center", va="top", fontsize=8.5
    )
