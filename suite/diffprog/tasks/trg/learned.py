"""The Ising model: learned beside planted couplings; free energy, energy and specific heat across the transition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from diffprog.drawing import style
from diffprog.drawing.learned import Learned
from diffprog.spec import Arrays, Case
from diffprog.tasks.trg import exact, fit

_NAMES = ("free energy −ln Z/N", "energy E/N", "specific heat C/N")


def picture(case: Case, inputs: Arrays, learned: Sequence[Learned]) -> tuple[Figure | None, str]:
    scanned = [one for one in learned if "scan_value" in one.arrays]
    if "fit_scan" not in inputs or not scanned:
        return _couplings(inputs, learned), "learned against planted couplings; on the line they are equal."
    return _thermodynamics(inputs, scanned), (
        "free energy, energy and specific heat (a difference of exact first derivatives) across the transition, "
        "against Onsager's infinite lattice; a vertical line marks Kc, a diamond the coupling learned."
    )


def _couplings(inputs: Arrays, learned: Sequence[Learned]) -> Figure:
    figure = style.figure(4.2)
    axes = figure.subplots()
    planted = inputs["fit_planted"]
    axes.plot([planted.min(), planted.max()], [planted.min(), planted.max()], color="#888888", linewidth=1)
    for index, one in enumerate(learned):
        away = float(np.abs(one.arrays["theta"] - planted).max())
        axes.plot(
            planted, one.arrays["theta"], "o", markersize=9 * 0.7**index, markerfacecolor="none",
            color=style.colour(one.fit.backend), label=f"{one.name}: largest error {away:.1e}",
        )  # fmt: skip
    axes.set(xlabel="planted coupling K", ylabel="learned coupling K")
    axes.legend(fontsize=9)
    return figure


def _thermodynamics(inputs: Arrays, learned: Sequence[Learned]) -> Figure:
    figure = style.figure(5.6)
    grid: Any = figure.subplots(2, 3, sharex=True, height_ratios=[3, 2])
    fine = np.linspace(fit.COUPLINGS[0], fit.COUPLINGS[-1], 400)
    fine = fine[np.abs(fine - exact.CRITICAL) > 1e-4]
    found = [(one, fit.thermodynamics(one.arrays["scan_value"], one.arrays["scan_gradient"])) for one in learned]
    curves, points = fit.onsager(fine), fit.onsager(fit.COUPLINGS)
    for quantity, (above, below) in enumerate(zip(grid[0], grid[1], strict=True)):
        above.plot(fine, curves[quantity], color="#BBBBBB", linewidth=3, label="Onsager, exact")
        for index, (one, values) in enumerate(found):
            line = {"color": style.colour(one.fit.backend), "markerfacecolor": "none"}
            above.plot(fit.COUPLINGS, values[quantity], "o", markersize=8 * 0.7**index, label=one.fit.backend, **line)
            away = np.maximum(np.abs(values[quantity] - points[quantity]), 1e-17)
            below.semilogy(fit.COUPLINGS, away, "o-", linewidth=0.7, markersize=8 * 0.7**index, **line)
        above.set_title(_NAMES[quantity])
        for axes in (above, below):
            axes.axvline(exact.CRITICAL, color="#222222", linestyle="--", linewidth=0.8)
        below.set(xlabel="coupling K", ylabel="distance from Onsager" if quantity == 0 else "")
    for index, one in enumerate(learned):
        k = float(one.arrays["theta"][0])
        if fine[0] <= k <= fine[-1]:
            grid[0][0].plot(
                k, float(one.arrays["free_energy"]), "D", markersize=9 * 0.8**index, color=style.colour(one.fit.backend)
            )
    grid[0][0].legend(fontsize=9)
    planted = float(inputs["fit_planted"][0])
    told = ", ".join(f"{one.fit.backend} {abs(float(one.arrays['theta'][0]) - planted):.0e}" for one in learned)
    figure.suptitle(f"planted K = {planted:.9f}; learned K is off by: {told}", fontsize=10)
    return figure
