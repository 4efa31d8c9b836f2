"""The optimised circuit: energy against depth with E₀ and what each depth can reach; the cut on its graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffprog import tasks
from diffprog.drawing import style
from diffprog.drawing.learned import Learned
from diffprog.spec import Arrays, Case
from diffprog.tasks.vqe import drawn
from diffprog.tasks.vqe.problem import VqeConfig


def picture(case: Case, inputs: Arrays, learned: Sequence[Learned]) -> tuple[Figure | None, str]:
    task = tasks.get(case.task)
    config = task.configure(case.variant, case.size)
    bound = float(task.bound(config) or 0.0)
    figure = style.figure(4.6)
    left, right = figure.subplots(1, 2)
    if config.alternating:
        _depth(left, config, bound, inputs, learned)
        told = "energy after each pair of layers of the optimised circuits, above the exact bound"
    else:
        _descent(left, bound, learned)
        told = "energy above the exact ground state while it was optimised"
    if case.variant == "maxcut":
        drawn.graph(right, config, learned[0].arrays["distribution"])
        return figure, f"{told}; right, the likeliest string of {learned[0].name}: a dashed bond is not cut, black is."
    _correlations(right, config, inputs, learned)
    return figure, f"{told}; right, correlations of neighbours, which the exact state has all alike."


def _depth(axes: Axes, config: VqeConfig, bound: float, inputs: Arrays, learned: Sequence[Learned]) -> None:
    floor = 1e-14
    if config.variant == "tfim":
        best = drawn.optima(config.qubits)
        axes.semilogy(np.arange(1, len(best) + 1), np.maximum(best - bound, floor), "-", color="#BBBBBB", linewidth=6,
                      label="the least with so many layers, exact")  # fmt: skip
    for index, one in enumerate(learned):
        energies = drawn.energies(config, one.arrays["theta"], inputs)
        axes.semilogy(np.arange(len(energies)), np.maximum(energies - bound, floor), "o-", markerfacecolor="none",
                      markersize=9 * 0.75**index, linewidth=2.4 * 0.7**index, color=style.colour(one.fit.backend),
                      label=f"{one.name}: {energies[-1]:.9f}")  # fmt: skip
    title = f"E₀ = {bound:.9f}" if config.variant == "tfim" else f"largest cut: {-bound:.0f} of {len(inputs['bonds'])}"
    axes.set(title=title, xlabel="pairs of layers", xticks=range(config.depth + 1))
    axes.set_ylabel("energy − E₀" if config.variant == "tfim" else "largest cut − mean cut")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.18))


def _descent(axes: Axes, bound: float, learned: Sequence[Learned]) -> None:
    for index, one in enumerate(learned):
        losses = one.arrays["losses"]
        axes.semilogy(np.maximum(losses - bound, 1e-14), color=style.colour(one.fit.backend), linewidth=3 * 0.7**index,
                      label=f"{one.name}: {losses.min():.6f}")  # fmt: skip
    axes.axhline(0.01 * abs(bound), color="#888888", linestyle="--", linewidth=0.9)
    axes.text(0, 0.0105 * abs(bound), "1 %", fontsize=8, color="#666666")
    axes.set(title=f"E₀ = {bound:.9f}", xlabel="step", ylabel="energy − E₀")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.18))


def _correlations(axes: Axes, config: VqeConfig, inputs: Arrays, learned: Sequence[Learned]) -> None:
    """The exact energy a bond, where it is made of correlations of equal strength: −|E₀|/3n of the Heisenberg ring."""
    for index, one in enumerate(learned):
        found = drawn.correlations(one.arrays["distribution"].astype(np.float64), inputs["bonds"])
        axes.plot(found, "o-", color=style.colour(one.fit.backend), markerfacecolor="none",
                  markersize=9 * 0.75**index, linewidth=2.4 * 0.7**index)  # fmt: skip
    exact = _exact_correlation(config)
    axes.axhline(exact, color="#222222", linestyle="--", linewidth=0.9)
    title: dict[str, Any] = {
        "title": f"⟨Z_i Z_i+1⟩, exact {exact:.6f}",
        "xlabel": "bond (i, i+1)",
        "ylim": (-1.05, 0.05),
    }
    axes.set(**title)


def _exact_correlation(config: VqeConfig) -> float:
    """Of the ground state: E₀ is n (⟨ZZ⟩ − ⟨X⟩) with both terms equal at the critical point, or 3n ⟨ZZ⟩."""
    bound = float(tasks.get("vqe").bound(config) or 0.0)
    return bound / config.qubits / (2 if config.variant == "tfim" else 3)
