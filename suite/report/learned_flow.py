"""The trained flow: samples of each backend, from the same noise, beside data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure, SubFigure

from suite import tasks
from suite.report import style
from suite.report.fit_pictures import Learned
from suite.report.pictures import square
from suite.spec import Array, Arrays, Case
from suite.tasks.flow import reference
from suite.tasks.flow.data import grey

_IMAGES = 12


def picture(case: Case, inputs: Arrays, learned: Sequence[Learned]) -> tuple[Figure | None, str]:
    config = tasks.get(case.task).configure(case.variant, case.size)
    data = inputs["data"]
    side = square(config.dim) if inputs["log_jacobian"].any() else None
    if side is None and config.dim != 2:
        return None, ""
    noise = np.random.default_rng([case.seed, 3]).standard_normal((_IMAGES if side else 400, config.dim))
    samples = [(one, reference.sample(config, one.arrays["theta"].astype(np.float64), noise)) for one in learned]
    if side is None:
        return _planes(data, samples), "data and samples of the trained flows, from the same noise."
    figure = style.figure(1.15 * (1 + len(learned)))
    parts: Any = figure.subfigures(1 + len(learned), 1)
    _row(parts[0], "data", side, data)
    for part, (one, x) in zip(parts[1:], samples, strict=True):
        bits = float(one.arrays["bits_per_dim"])
        _row(part, f"{one.name}: samples; {bits:.3f} bits per dimension on the data of the case", side, x)
    return figure, "digits sampled from the trained flows, each backend's parameters with the same noise."


def _row(figure: SubFigure, title: str, side: int, images: Array) -> None:
    figure.suptitle(title, x=0.005, ha="left", fontsize=9)
    for axes, image in zip(figure.subplots(1, _IMAGES), images, strict=False):
        axes.set_axis_off()
        axes.imshow(grey(image).reshape(side, side), cmap="Greys", vmin=0, vmax=1)


def _planes(data: Array, samples: Sequence[tuple[Learned, Array]]) -> Figure:
    figure = style.figure(3.0)
    grid: Any = np.atleast_1d(figure.subplots(1, 1 + len(samples), sharex=True, sharey=True))
    grid[0].plot(*data.T, ".", color="#888888")
    grid[0].set_title("data")
    for axes, (one, x) in zip(grid[1:], samples, strict=True):
        axes.plot(*x.T, ".", markersize=3, color=style.colour(one.fit.backend))
        axes.set_title(one.name)
    for axes in grid:
        axes.set_aspect("equal")
    return figure
