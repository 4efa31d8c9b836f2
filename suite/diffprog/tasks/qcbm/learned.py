"""The trained Born machine: its distribution beside the target, and samples from it as images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure, SubFigure

from diffprog import tasks
from diffprog.drawing import style
from diffprog.drawing.learned import Learned
from diffprog.drawing.shown import bins
from diffprog.spec import Array, Arrays, Case
from diffprog.tasks.qcbm import patterns
from diffprog.tasks.qcbm.patterns import Player

_SHOWN = 24
_QUICK = 14
"""Qubits of a circuit that a picture may simulate."""


def valid_fraction(distribution: Array, target: Array) -> float:
    """The probability of the bit strings that the target has, in [0, 1]."""
    return float(distribution[target > 0].sum())


def picture(case: Case, inputs: Arrays, learned: Sequence[Learned]) -> tuple[Figure | None, str]:
    config = tasks.get(case.task).configure(case.variant, case.size)
    target = inputs["target"]
    if config.hidden:
        return _game(case, (config.rows, config.columns), inputs, learned)
    rows = len(learned) if config.rows else 0
    figure = style.figure(3.2 + 0.95 * rows)
    parts: Any = figure.subfigures(1 + rows, 1, height_ratios=[3.2] + [0.95] * rows)
    parts = np.atleast_1d(parts)
    _distributions(parts[0], target, learned)
    for part, one in zip(parts[1:], learned, strict=False):
        _samples(part, case.seed, (config.rows, config.columns), target, one)
    caption = "the trained circuits' distributions over the target"
    if config.rows:
        caption += f"; below, {_SHOWN} samples of each from the same random numbers, framed red where no target"
    return figure, caption + "."


def _start(case: Case, inputs: Arrays) -> Player | None:
    """Where the game began, as the reference computes it; None where that takes long."""
    task = tasks.get(case.task)
    config = task.configure(case.variant, case.size)
    if config.qubits > _QUICK or not {"params", "spins", "permutation"} <= inputs.keys():
        return None
    functions = tasks.functions(case.task, "numpy", config, task.reference_method(case.variant))
    found = functions.outputs(inputs["params"], inputs)
    return Player("before: as drawn", "", found["distribution"], found["discriminator"])


def _game(case: Case, shape: tuple[int, int], inputs: Arrays, learned: Sequence[Learned]) -> tuple[Figure | None, str]:
    target = inputs["target"]
    figure = style.figure(4.6 + 0.95 * len(learned))
    parts: Any = figure.subfigures(1 + len(learned), 1, height_ratios=[4.6] + [0.95] * len(learned))
    players = []
    for one in learned:
        p = one.arrays["distribution"]
        told = f"{one.name}:\ntotal variation {patterns.total_variation(p, target):.1g}"
        players.append(Player(told, one.fit.backend, p, one.arrays["discriminator"]))
    patterns.draw(parts[0], shape, target, players, _start(case, inputs))
    for part, one in zip(parts[1:], learned, strict=True):
        _samples(part, case.seed, shape, target, one)
    caption = (
        "the trained circuits over the patterns of the data, and below how far the discriminators hold each for data "
        f"(of all others the mean over those that the circuit makes): it is over where D = ½; then {_SHOWN} samples "
        "of each from the same random numbers, framed red where no target."
    )
    return figure, caption


def _distributions(figure: SubFigure, target: Array, learned: Sequence[Learned]) -> None:
    axes = figure.subplots()
    edges = np.linspace(0, target.size, bins(target).size + 1) - 0.5
    axes.stairs(bins(target), edges, fill=True, color="#C8C8C8", label="target")
    for index, one in enumerate(learned):
        p = one.arrays["distribution"]
        axes.stairs(
            bins(p), edges, baseline=None, color=style.colour(one.fit.backend), linewidth=2.4 * 0.65**index,
            label=f"{one.name}: {100 * valid_fraction(p, target):.2f} % within the target's support",
        )  # fmt: skip
    merged = target.size // bins(target).size
    axes.set_xlabel("bit string x as an integer" + (f", {merged} strings a bin" if merged > 1 else ""))
    axes.set_ylabel("probability" + (" of a bin" if merged > 1 else ""))
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9)


def _samples(figure: SubFigure, seed: int, shape: tuple[int, int], target: Array, one: Learned) -> None:
    p = np.clip(one.arrays["distribution"].astype(np.float64), 0, None)
    drawn = np.random.default_rng([seed, 3]).choice(len(p), _SHOWN, p=p / p.sum())
    figure.suptitle(f"{one.name}: samples", x=0.005, ha="left", fontsize=9)
    for axes, string in zip(figure.subplots(1, _SHOWN), drawn, strict=True):
        image = (int(string) >> np.arange(shape[0] * shape[1])) & 1
        edge = "#999999" if target[string] > 0 else style.ALARM
        axes.pcolormesh(image.reshape(shape), cmap="Greys", vmin=-0.15, vmax=1.3, edgecolors=edge)
        axes.set(aspect="equal", xticks=[], yticks=[])
        axes.invert_yaxis()
        axes.spines[:].set_visible(False)
