"""The report of a fit: fits.csv, learning curves, what was learned, and one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffprog import format
from diffprog.drawing import style
from diffprog.records.fits import COMPARED, TOLERANCE, FitRecord
from diffprog.spec import Case

COLUMNS = {
    "task": "task", "variant": "variant", "size": "size", "seed": "seed", "backend": "backend", "method": "method",
    "made_with": "made_with", "optimiser": "optimiser", "outcome": "outcome", "first_loss": "first_loss",
    "final_loss": "final_loss", "bound": "bound", "steps_done": "steps_done", "evaluations": "evaluations",
    "seconds": "seconds", "saddle": "equilibrium", "reference": "reference", "deviation": "first_losses_deviation",
    "message": "message", "reason": "reason",
}  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """A learning curve: ``loss`` and ``seconds`` by step, each (S,)."""

    fit: FitRecord
    loss: np.ndarray
    seconds: np.ndarray


def table(fits: Sequence[FitRecord]) -> pd.DataFrame:
    """One row a fit; losses in the task's own unit, seconds, relative deviations."""
    rows = [{column: getattr(fit, field) for field, column in COLUMNS.items()} for fit in fits]
    return pd.DataFrame(rows, columns=list(COLUMNS.values()))


def curves(folder: Path, fits: Sequence[FitRecord]) -> list[Curve]:
    """The learning curves that are there. A torn last line, of a fit that was killed, is left out."""
    found = []
    for fit in fits:
        try:
            frame = pd.read_csv(folder / fit.curve, on_bad_lines="skip") if fit.curve else pd.DataFrame()
        except (OSError, ValueError):
            continue
        if {"step", "loss", "seconds"} <= set(frame.columns):
            frame = frame.apply(pd.to_numeric, errors="coerce").dropna()
            if len(frame):
                found.append(Curve(fit, frame["loss"].to_numpy(), frame["seconds"].to_numpy()))
    return found


def by_case(fits: Sequence[FitRecord]) -> dict[Case, list[FitRecord]]:
    """The fits of each case, the cases in order of appearance."""
    cases: dict[Case, list[FitRecord]] = {}
    for fit in fits:
        cases.setdefault(fit.case, []).append(fit)
    return cases


def draw_curves(case: Case, found: Sequence[Curve]) -> Figure | None:
    """Loss against step, one panel an optimiser; below it the first Adam losses' distance from the reference's."""
    optimisers = [name for name in ("adam", "lbfgs") if any(curve.fit.optimiser == name for curve in found)]
    if not optimisers:
        return None
    compared = [curve for curve in found if curve.fit.optimiser == "adam"]
    figure = style.figure(6.2 if len(compared) > 1 else 3.7)
    heights = [3, 2] if len(compared) > 1 else [1]
    game = any(curve.fit.ascend for curve in found)
    grid = figure.add_gridspec(len(heights), len(optimisers) + game, height_ratios=heights)
    for column, optimiser in enumerate(optimisers):
        axes = figure.add_subplot(grid[0, column])
        _losses(axes, [curve for curve in found if curve.fit.optimiser == optimiser])
        axes.set_title(f"{case.key}: {'Adam' if optimiser == 'adam' else 'L-BFGS'}", loc="left")
    if game:
        _settling(figure.add_subplot(grid[0, -1]), [curve for curve in found if curve.fit.saddle is not None])
    if len(compared) > 1:
        _deviations(figure.add_subplot(grid[1, :]), compared)
    return figure


def _settling(axes: Axes, found: Sequence[Curve]) -> None:
    """How far the loss of a minimax is from that of its solution, whichever side of it."""
    for index, curve in enumerate(found):
        away = np.abs(curve.loss - (curve.fit.saddle or 0.0))
        axes.semilogy(np.maximum(away, 1e-16), color=style.colour(curve.fit.backend), linewidth=3 * 0.6**index)
    axes.set(xlabel="step", ylabel="|loss − equilibrium|")
    axes.grid(axis="y")
    axes.set_title("A minimax: the loss is to settle, not to fall", loc="left")


def _losses(axes: Axes, found: Sequence[Curve]) -> None:
    for index, curve in enumerate(found):
        # Coinciding curves: each next one is thinner, so that the ones below stay visible.
        axes.plot(
            curve.loss, color=style.colour(curve.fit.backend), linewidth=5 * 0.6**index,
            label=f"{curve.fit.backend}: {curve.loss[-1]:.6g} after {format.seconds(float(curve.seconds[-1]))}",
        )  # fmt: skip
    bound = found[0].fit.bound
    if bound is not None and bound != 0:
        axes.axhline(bound, color="#222222", linestyle="--", linewidth=1, label=f"exact bound: {bound:.6g}")
    saddle = found[0].fit.saddle
    if saddle is not None:
        axes.axhline(saddle, color="#222222", linestyle="--", linewidth=1, label=f"equilibrium: {saddle:.6g}")
    if bound == 0 and min(float(curve.loss.min()) for curve in found) > 0:
        axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.grid(axis="y")
    axes.legend(fontsize=9)


def _deviations(axes: Axes, found: Sequence[Curve]) -> None:
    """|l − r| / |r| of the first losses; equal ones are drawn at the axis' lower end."""
    reference = found[0].loss[:COMPARED]
    least = 1e-17
    for curve in found[1:]:
        count = min(len(reference), len(curve.loss), COMPARED)
        scale = np.where(reference[:count] == 0, 1, np.abs(reference[:count]))
        away = np.abs(curve.loss[:count] - reference[:count]) / scale
        axes.semilogy(
            np.maximum(away, least), ".-", color=style.colour(curve.fit.backend), label=f"{curve.fit.backend}"
        )
    axes.axhline(TOLERANCE, color=style.ALARM, linestyle="--", linewidth=1, label=f"allowed: {TOLERANCE:.0e}")
    axes.set_ylim(least, 1e-6)
    axes.set_xlabel("step")
    axes.set_ylabel("relative difference")
    name = found[0].fit.backend
    axes.set_title(f"The first {COMPARED} Adam losses against {name}'s (equal: {least:.0e})", loc="left")
    axes.legend(fontsize=9, ncols=4)
