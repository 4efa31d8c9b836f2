"""The trained flow: samples of each backend, from the same noise, beside data or beside the target density."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from diffprog import tasks
from diffprog.drawing import style
from diffprog.drawing.learned import Learned
from diffprog.spec import Array, Arrays, Case
from diffprog.tasks.flow import reference, targets
from diffprog.tasks.flow.data import grey

_IMAGES = 12
_POINTS = 1000

Samples = Sequence[tuple[Learned, Array]]


def picture(case: Case, inputs: Arrays, learned: Sequence[Learned]) -> tuple[Figure | None, str]:
    config = tasks.get(case.task).configure(case.variant, case.size)
    images = case.variant == "ising" or (case.variant == "density" and inputs["log_jacobian"].any())
    noise = np.random.default_rng([case.seed, 3]).standard_normal((_IMAGES if images else _POINTS, config.dim))
    samples = [(one, reference.sample(config, one.arrays["theta"].astype(np.float64), noise)) for one in learned]
    if case.variant == "ising":
        return _fields(config.dim, samples), "fields sampled from the trained flows, from the same noise."
    if images:
        return _digits(config.dim, inputs["data"], samples), (
            "digits sampled from the trained flows, each backend's parameters with the same noise."
        )
    if config.dim != 2:
        return None, ""
    if case.variant == "density":
        return _planes(samples, inputs["data"]), "data, and samples of the trained flows from the same noise."
    return _planes(samples, None, case.variant), "samples of the trained flows, over contours of the target density."


def _digits(dim: int, data: Array, samples: Samples) -> Figure:
    side = math.isqrt(dim)
    figure = style.figure(1.15 * (1 + len(samples)))
    parts: Any = figure.subfigures(1 + len(samples), 1)
    _row(parts[0], "data", grey(data[:_IMAGES]).reshape(-1, side, side), "Greys", 0, 1)
    for part, (one, x) in zip(parts[1:], samples, strict=True):
        bits = float(one.arrays["bits_per_dim"])
        title = f"{one.name}: samples; {bits:.3f} bits per dimension on the data of the case"
        _row(part, title, grey(x).reshape(-1, side, side), "Greys", 0, 1)
    return figure


def _fields(dim: int, samples: Samples) -> Figure:
    side = math.isqrt(dim)
    figure = style.figure(1.15 * len(samples))
    drawn: Any = figure.subfigures(len(samples), 1)
    parts: Any = np.atleast_1d(drawn)
    limit = float(np.abs(samples[0][1]).max())
    for part, (one, x) in zip(parts, samples, strict=True):
        loss = "" if one.fit.final_loss is None else f"; free energy {one.fit.final_loss:.4f} nats"
        bound = "" if one.fit.bound is None else f", exact bound {one.fit.bound:.4f}"
        _row(part, f"{one.name}: samples{loss}{bound}", x.reshape(-1, side, side), "PuOr", -limit, limit)
    return figure


def _row(figure: SubFigure, title: str, images: Array, colours: str, low: float, high: float) -> None:
    figure.suptitle(title, x=0.005, ha="left", fontsize=9)
    for axes, image in zip(figure.subplots(1, _IMAGES), images, strict=False):
        axes.set_axis_off()
        axes.imshow(image, cmap=colours, vmin=low, vmax=high)


def _planes(samples: Samples, data: Array | None, variant: str = "") -> Figure:
    figure = style.figure(3.2)
    count = len(samples) + (data is not None)
    grid: Any = np.atleast_1d(figure.subplots(1, count, sharex=True, sharey=True))
    if data is not None:
        grid[0].plot(*data.T, ".", color="#888888")
        grid[0].set_title("data")
    for axes, (one, x) in zip(grid[count - len(samples) :], samples, strict=True):
        if data is None:
            _contours(axes, variant, float(np.abs(x).max()))
        axes.plot(*x.T, ".", markersize=2, color=style.colour(one.fit.backend))
        axes.set_title(one.name)
    for axes in grid:
        axes.set_aspect("equal")
    return figure


def _contours(axes: Axes, variant: str, reach: float) -> None:
    line = np.linspace(-reach, reach, 120)  # an even number: none at the origin, where `ring` has no slope
    x, y = np.meshgrid(line, line)
    log_density, _ = targets.LOG_DENSITY[variant](np.stack([x.ravel(), y.ravel()], axis=1), {})
    axes.contour(x, y, np.exp(log_density).reshape(x.shape), levels=5, colors="#999999", linewidths=0.8)
