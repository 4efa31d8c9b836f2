"""The flow: samples as data, the same samples carried to latent space, and the log-density that each backend gives."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from suite.report import style
from suite.report.pictures import Shown, largest, square
from suite.spec import Array, Arrays, Case
from suite.tasks.flow.data import grey

_IMAGES = 10


def picture(case: Case, inputs: Arrays, shown: Sequence[Shown]) -> Figure | None:
    """Data above, latent space below (or beside), and the histograms of log-density, which must coincide."""
    data, latent = inputs.get("data"), shown[0].arrays.get("latent")
    if data is None or latent is None or data.ndim != 2 or data.shape != latent.shape:
        return None
    dimension = data.shape[1]
    jacobian = inputs.get("log_jacobian")
    # Only images are preprocessed; a square number of dimensions alone makes no image.
    side = square(dimension) if jacobian is not None and jacobian.any() else None
    figure = style.figure(6.2 if side else 6.8 if dimension == 2 else 3.4)
    figure.suptitle(f"{case.key}: {len(data)} samples in {dimension} dimensions, at the drawn parameters", fontsize=11)
    if side:
        parts: Any = figure.subfigures(2, 1, height_ratios=[1, 1.15])
        _rows(parts[0], side, data, latent)
        axes = parts[1].subplots()
        _densities(axes, shown)
        _bits(axes, shown[0].arrays["log_density"], jacobian, dimension)
    elif dimension == 2:
        parts = figure.subfigures(2, 1, height_ratios=[1.35, 1])
        _planes(parts[0], data, shown)
        _densities(parts[1].subplots(), shown)
    else:
        _densities(figure.subplots(), shown)
    return figure


def _rows(figure: SubFigure, side: int, data: Array, latent: Array) -> None:
    """Images: the data back through the inverse of its preprocessing, and below each its latent variables."""
    limit = float(np.quantile(np.abs(latent), 0.98)) if np.isfinite(latent).all() else largest(latent)
    rows = (
        ("data: grey levels from 0 (white) to 1 (black)", grey(data), 0.0, 1.0, "Greys"),
        (f"latent: from -{limit:.2g} (brown) to {limit:.2g} (violet)", latent, -limit, limit, "PuOr"),
    )
    parts: Any = figure.subfigures(2, 1)
    for part, (title, images, low, high, colours) in zip(parts, rows, strict=True):
        part.suptitle(title, x=0.005, ha="left", fontsize=10)
        for axes, image in itertools.zip_longest(part.subplots(1, _IMAGES), images[:_IMAGES]):
            axes.set_axis_off()
            if image is not None:
                axes.pcolormesh(image.reshape(side, side), cmap=colours, vmin=low, vmax=high)
                axes.set_aspect("equal")
                axes.invert_yaxis()


def _planes(figure: SubFigure, data: Array, shown: Sequence[Shown]) -> None:
    """Both spaces of a two-dimensional flow; the backends' latent points are rings around the reference's."""
    left, right = figure.subplots(1, 2)
    density = shown[0].arrays["log_density"]
    look = {"c": density, "cmap": "cividis", "s": 22, "zorder": 3}
    left.scatter(*data.T, **look)
    dots = right.scatter(*shown[0].arrays["latent"].T, **look)
    for index, one in enumerate(shown[1:]):
        points = one.arrays.get("latent")
        if points is not None and points.shape == data.shape:
            right.scatter(
                *points.T, s=70 + 70 * index, facecolors="none", edgecolors=style.colour(one.backend), linewidths=1.1,
                label=one.beside(shown[0], "latent"),
            )  # fmt: skip
    for radius in (1, 2):
        angle = np.linspace(0, 2 * np.pi, 181)
        right.plot(radius * np.cos(angle), radius * np.sin(angle), color="#BBBBBB", linewidth=0.8)
    for axes, space in ((left, "data"), (right, "latent")):
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_box_aspect(1)
        axes.set(xlabel=f"{space}, first coordinate", ylabel=f"{space}, second coordinate")
    right.set_title("circles: 1 and 2 standard deviations", fontweight="normal", fontsize=9)
    figure.colorbar(dots, ax=[left, right], label="ln p(x) (nats)", pad=0.01)
    if len(shown) > 1:
        figure.legend(loc="outside lower center", ncols=len(shown), fontsize=9)


def _densities(axes: Axes, shown: Sequence[Shown]) -> None:
    every = np.concatenate([one.arrays["log_density"] for one in shown])
    every = every[np.isfinite(every)]
    if not every.size:
        axes.set_axis_off()
        return
    edges = np.histogram_bin_edges(every, bins=min(30, max(6, every.size // (4 * len(shown)))))
    for index, one in enumerate(shown):
        density = one.arrays["log_density"]
        counts, _ = np.histogram(density[np.isfinite(density)], edges)
        axes.stairs(
            counts, edges, color=style.colour(one.backend), linewidth=5 * 0.65**index,
            label=one.beside(shown[0], "log_density"),
        )  # fmt: skip
    axes.set_xlabel("log-density of a sample, ln p(x), in nats")
    axes.set_ylabel("samples a bin")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)


def _bits(axes: Axes, log_density: Array, log_jacobian: Array | None, dimension: int) -> None:
    """The mean negative log-likelihood of the images in bits a dimension: that of grey levels, preprocessing undone."""
    if log_jacobian is not None and log_jacobian.shape == log_density.shape:
        bits = -float(np.mean(log_density + log_jacobian)) / (dimension * np.log(2))
        nats = -float(np.mean(log_density))
        axes.set_title(
            f"mean of -ln p: {nats:.2f} nats of the preprocessed data; {bits:.3f} bits a dimension of the grey levels",
            fontweight="normal", loc="left",
        )  # fmt: skip
