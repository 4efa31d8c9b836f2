"""What pictures of the classifier are made of: decisions, confusions, images with their p, p over the plane."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from diffprog import tasks
from diffprog.drawing import style
from diffprog.spec import Array, Arrays
from diffprog.tasks.classifier.problem import ClassifierConfig

PLANE = 121
"""Points along either direction."""
MARGIN = 0.4
COLOURS = ("#E69F00", "#0072B2")
"""Of the labels 0 and 1."""


def confusion(chances: Array, labels: Array) -> Array:
    """How many samples of each label (row) were taken for each (column): (2, 2), int64. The decision is p > ½."""
    counts = np.zeros((2, 2), np.int64)
    np.add.at(counts, (labels.astype(int), (chances > 0.5).astype(int)), 1)
    return counts


def accuracy(chances: Array, labels: Array) -> float:
    """The fraction of the samples that are taken for what they are."""
    return float(np.trace(confusion(chances, labels)) / len(labels))


def least_certain(chances: Array, labels: Array, count: int) -> Array:
    """The samples of which the right label is least likely, the mistaken ones first."""
    return np.argsort(np.where(labels > 0.5, chances, 1 - chances), kind="stable")[:count]


def matrix(axes: Axes, counts: Array, title: str) -> None:
    axes.imshow(counts, cmap="Greys", vmin=0, vmax=1.6 * counts.max())
    for (row, column), number in np.ndenumerate(counts):
        wrong = row != column and number > 0
        axes.text(
            column, row, str(number), ha="center", va="center", fontsize=13, color=style.ALARM if wrong else "#222222"
        )
    axes.set(title=title, xlabel="taken for", ylabel="is", xticks=(0, 1), yticks=(0, 1))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def images(figure: SubFigure, samples: Array, chances: Array, labels: Array, side: int) -> None:
    """A row of images, each with its p; a mistaken one is framed red."""
    grid: Any = figure.subplots(1, len(samples), squeeze=False)[0]
    for axes, sample, p, label in zip(grid, samples, chances, labels, strict=True):
        axes.imshow(sample.reshape(side, side), cmap="Greys", vmin=0)
        wrong = (p > 0.5) != (label > 0.5)
        axes.set_title(f"is {label:.0f}\np = {p:.3f}", fontsize=8.5, fontweight="normal")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=style.ALARM if wrong else "#BBBBBB", linewidth=2.4 if wrong else 0.8)


def over_the_plane(config: ClassifierConfig, theta: Array, inputs: Arrays) -> tuple[Array, Array, Array]:
    """Coordinates (121,) and (121,), and p (121, 121) at y (row) and x (column), by the reference."""
    every = np.concatenate([inputs["points"], inputs["held_points"]])
    low, high = every.min(axis=0) - MARGIN, every.max(axis=0) + MARGIN
    x, y = (np.linspace(low[k], high[k], PLANE) for k in (0, 1))
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    functions = tasks.functions("classifier", "numpy", config, "reverse")
    p = functions.outputs(theta.astype(np.float64), inputs | {"points": points})["probabilities"]
    return x, y, p.reshape(PLANE, PLANE)


def plane(axes: Axes, config: ClassifierConfig, theta: Array, inputs: Arrays) -> Any:
    """The plane in the colours of p, with the line where it is ½."""
    x, y, p = over_the_plane(config, theta, inputs)
    mesh = axes.pcolormesh(x, y, p, cmap="PuOr", vmin=0, vmax=1, alpha=0.75, rasterized=True)
    axes.set(xlabel="x₁ (radians)", ylabel="x₂ (radians)", aspect="equal")
    return mesh


def points(axes: Axes, where: Array, labels: Array, chances: Array, *, held: bool) -> None:
    """Points by label: discs, or triangles for those that are held out; the mistaken ones ringed red."""
    for label, colour in enumerate(COLOURS):
        chosen = where[labels == label]
        axes.scatter(
            chosen[:, 0], chosen[:, 1], s=16 if held else 22, marker="^" if held else "o", color=colour,
            edgecolors="white", linewidths=0.5, label=f"label {label}{', held out' if held else ''}",
        )  # fmt: skip
    wrong = where[(chances > 0.5) != (labels > 0.5)]
    axes.scatter(wrong[:, 0], wrong[:, 1], s=90, facecolors="none", edgecolors=style.ALARM, linewidths=1.4)
