"""The fitted chain: learned beside planted levels and couplings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from diffprog.drawing import style
from diffprog.drawing.learned import Learned
from diffprog.spec import Arrays, Case


def picture(case: Case, inputs: Arrays, learned: Sequence[Learned]) -> tuple[Figure | None, str]:
    figure = style.figure(4.0)
    left, right = figure.subplots(1, 2)
    _result(left, inputs, learned)
    _couplings(right, inputs, learned)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=9)
    return figure, (
        "what was learned beside what was planted. The couplings need not be the planted ones: the inverse problem has "
        "more than one solution."
    )


def _result(axes: Any, inputs: Arrays, learned: Sequence[Learned]) -> None:
    target = inputs["target"]
    spectrum = "state" not in learned[0].arrays
    if spectrum:
        index = np.arange(target.size)
        axes.hlines(target, index - 0.4, index + 0.4, color="#AAAAAA", linewidth=5, label="planted levels")
    else:
        order = np.argsort(-np.abs(target), kind="stable")[:32]
        index = np.arange(order.size)
        axes.bar(index, target[order] ** 2, color="#C8C8C8", label="planted ground state")
    for number, one in enumerate(learned):
        found = one.arrays["energies"][: target.size] if spectrum else one.arrays["state"][order] ** 2
        known = target if spectrum else target[order] ** 2
        axes.scatter(
            index, found, s=200 * 0.5**number, facecolors="none", linewidths=1.6,
            edgecolors=style.colour(one.fit.backend), label=f"{one.name}: within {np.abs(found - known).max():.0e}",
        )  # fmt: skip
    if spectrum:
        axes.set(xlabel="level k", ylabel="energy E_k")
        axes.set_xticks(index)
    else:
        axes.set(xlabel="basis state, the planted state's likeliest first", ylabel="probability")


def _couplings(axes: Any, inputs: Arrays, learned: Sequence[Learned]) -> None:
    planted, start = inputs["planted"], inputs["params"]
    index, sites = np.arange(planted.size), planted.size // 2
    axes.hlines(planted, index - 0.4, index + 0.4, color="#AAAAAA", linewidth=5)
    axes.plot(index, start, "x", color="#777777", label="start")
    for number, one in enumerate(learned):
        axes.scatter(
            index, one.arrays["theta"], s=120 * 0.5**number, facecolors="none", linewidths=1.4,
            edgecolors=style.colour(one.fit.backend),
        )  # fmt: skip
    axes.axvline(sites - 0.5, color="#BBBBBB", linewidth=0.8)
    axes.set(xlabel=f"J of bonds 0 to {sites - 1}, then h of sites", ylabel="coupling (bars: planted, crosses: start)")
