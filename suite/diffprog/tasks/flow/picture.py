"""The flow: data and the same samples in latent space, or noise and what it became, with the density that each
backend gives.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from diffprog.drawing import style
from diffprog.drawing.shown import Shown, largest, square
from diffprog.spec import Array, Arrays, Case
from diffprog.tasks.flow.data import grey
from diffprog.tasks.flow.problem import VARIATIONAL, configure
from diffprog.tasks.flow.spec import TASK
from diffprog.tasks.flow.targets import LOG_DENSITY

OUTPUT = "log_density"
"""What it needs of a cell's arrays."""
_IMAGES = 10
_RINGS = 64
"""With more samples than this, rings around them would hide them."""


def picture(case: Case, inputs: Arrays, shown: Sequence[Shown]) -> Figure | None:
    """Data above, latent space below (or beside), and the histograms of log-density, which must coincide."""
    if "samples" in shown[0].arrays:
        return _variational(case, inputs, shown)
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


def _variational(case: Case, inputs: Arrays, shown: Sequence[Shown]) -> Figure | None:
    """What the noise became, and the free energy of each sample, whose mean the exact −ln Z bounds from below."""
    noise, samples = inputs.get("data"), shown[0].arrays["samples"]
    if noise is None or noise.ndim != 2 or noise.shape != samples.shape or case.variant not in VARIATIONAL:
        return None
    dimension = samples.shape[1]
    side = square(dimension)
    figure = style.figure(6.6)
    figure.suptitle(
        f"{case.key}: {len(samples)} samples in {dimension} dimensions, at the drawn parameters", fontsize=11
    )
    parts: Any = figure.subfigures(2, 1, height_ratios=[1.35, 1])
    if side:
        _fields(parts[0], side, noise, samples)
    else:
        _targets(parts[0], case, noise, shown)
    _free_energies(parts[1].subplots(), case, dimension if side else 1, shown)
    return figure


def _fields(figure: SubFigure, side: int, noise: Array, samples: Array) -> None:
    """Lattices: the noise, and below each what the flow made of it."""
    limit = float(np.quantile(np.abs(samples), 0.98)) if np.isfinite(samples).all() else largest(samples)
    limit = limit or 1.0
    parts: Any = figure.subfigures(2, 1)
    for part, name, fields in zip(parts, ("noise z", "flow x(T)"), (noise, samples), strict=True):
        part.suptitle(f"{name}: from -{limit:.2g} (brown) to {limit:.2g} (violet)", x=0.005, ha="left", fontsize=10)
        for axes, field in itertools.zip_longest(part.subplots(1, _IMAGES), fields[:_IMAGES]):
            axes.set_axis_off()
            if field is not None:
                axes.pcolormesh(field.reshape(side, side), cmap="PuOr", vmin=-limit, vmax=limit)
                axes.set_aspect("equal")
                axes.invert_yaxis()


def _targets(figure: SubFigure, case: Case, noise: Array, shown: Sequence[Shown]) -> None:
    """The plane: noise beside the samples, both on contours of the target density."""
    edge = 4.0
    line = np.linspace(-edge, edge, 160)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    log_target, _ = LOG_DENSITY[case.variant](grid, {})
    heights = np.exp(log_target).reshape(len(line), len(line))
    left, right = figure.subplots(1, 2)
    colours = shown[0].arrays["free_energy"]
    dots = None
    for axes, points, name in ((left, noise, "noise z"), (right, shown[0].arrays["samples"], "flow x(T)")):
        axes.contourf(line, line, heights, levels=8, cmap="Greys", alpha=0.6)
        dots = axes.scatter(*points.T, c=colours, cmap="cividis", s=18, zorder=3)
        axes.set(xlim=(-edge, edge), ylim=(-edge, edge), xlabel="first coordinate", ylabel="second coordinate")
        axes.set_aspect("equal")
        axes.set_title(f"{name}; grey: the target density", fontweight="normal", fontsize=9)
    for index, one in enumerate(shown[1:]):
        theirs = one.arrays.get("samples")
        if theirs is not None and theirs.shape == noise.shape and len(theirs) <= _RINGS:
            size, edges = 70 + 70 * index, style.colour(one.backend)
            right.scatter(*theirs.T, s=size, facecolors="none", edgecolors=edges, linewidths=1.1)
    assert dots is not None
    figure.colorbar(dots, ax=[left, right], label="ln p(x) − ln π̃(x) (nats)", pad=0.01)


def _free_energies(axes: Axes, case: Case, sites: int, shown: Sequence[Shown]) -> None:
    """Histograms of the loss of each sample, its mean, and the exact bound of the mean."""
    _densities(axes, shown, "free_energy", scale=sites)
    per = " per site" if sites > 1 else ""
    axes.set_xlabel(f"variational free energy of a sample{per}, ln p(x) − ln π̃(x), in nats")
    bound = TASK.bound(configure(case.variant, case.size))
    mean = float(np.mean(shown[0].arrays["free_energy"])) / sites
    if bound is not None and np.isfinite(mean):
        axes.axvline(bound / sites, color="black", linewidth=1.4)
        axes.axvline(mean, color="black", linewidth=1.4, linestyle=":")
        axes.set_title(
            f"mean (dotted): {mean:.4f} nats{per}; exact bound −ln Z (solid): {bound / sites:.4f}",
            fontweight="normal", loc="left",
        )  # fmt: skip


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


def _densities(axes: Axes, shown: Sequence[Shown], output: str = "log_density", scale: float = 1.0) -> None:
    shown = [one for one in shown if output in one.arrays]
    every = np.concatenate([one.arrays[output] for one in shown]) / scale
    every = every[np.isfinite(every)]
    if not every.size:
        axes.set_axis_off()
        return
    edges = np.histogram_bin_edges(every, bins=min(30, max(6, every.size // (4 * len(shown)))))
    for index, one in enumerate(shown):
        density = one.arrays[output] / scale
        counts, _ = np.histogram(density[np.isfinite(density)], edges)
        axes.stairs(
            counts, edges, color=style.colour(one.backend), linewidth=5 * 0.65**index,
            label=one.beside(shown[0], output),
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
