"""The state that a circuit makes: correlations along the ring, or its cuts; and the gradient, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffprog import tasks
from diffprog.drawing import style
from diffprog.drawing.shown import Shown, largest
from diffprog.errors import UsageError
from diffprog.spec import Arrays, Case
from diffprog.tasks.vqe import drawn

OUTPUT = "distribution"
"""What it needs of a cell's arrays."""


def picture(case: Case, inputs: Arrays, shown: Sequence[Shown]) -> Figure | None:
    """At the case's own parameters: nothing is optimised here."""
    try:
        task = tasks.get(case.task)
        config = task.configure(case.variant, case.size)
    except UsageError:
        return None
    if "bonds" not in inputs or shown[0].arrays[OUTPUT].shape != (1 << config.qubits,):
        return None
    figure = style.figure(4.0)
    figure.suptitle(f"{case.key}: {config.qubits} qubits, at the drawn parameters (not optimised)", fontsize=11)
    left, right = figure.subplots(1, 2)
    if case.variant == "maxcut":
        _cuts(left, inputs, shown)
    else:
        _ring(left, inputs, shown)
    _gradient(right, config, task.layout(config).split(shown[0].arrays["gradient"]), shown[0].name)
    return figure


def _lines(index: int, one: Shown, shown: Sequence[Shown]) -> dict[str, Any]:
    """Coinciding curves: each next one is thinner, so that the ones below stay visible."""
    return {"color": style.colour(one.backend), "linewidth": 5 * 0.65**index, "label": one.beside(shown[0], OUTPUT)}


def _ring(axes: Axes, inputs: Arrays, shown: Sequence[Shown]) -> None:
    for index, one in enumerate(shown):
        found = drawn.correlations(one.arrays[OUTPUT].astype(np.float64), inputs["bonds"])
        axes.plot(found, **_lines(index, one, shown))
    axes.set(title="correlation of neighbours", xlabel="bond (i, i+1)", ylabel="⟨Z_i Z_i+1⟩", ylim=(-1.05, 1.05))
    axes.set_xticks(range(len(inputs["bonds"])))
    axes.axhline(0, color="#BBBBBB", linewidth=0.8)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.2))


def _cuts(axes: Axes, inputs: Arrays, shown: Sequence[Shown]) -> None:
    chance = np.bincount(inputs["diagonal"].astype(int)) / len(inputs["diagonal"])
    axes.stairs(chance, np.arange(len(chance) + 1) - 0.5, fill=True, color="#DDDDDD", label="random strings")
    for index, one in enumerate(shown):
        sizes = drawn.cut_sizes(one.arrays[OUTPUT], inputs["diagonal"])
        axes.stairs(sizes, np.arange(len(sizes) + 1) - 0.5, baseline=None, **_lines(index, one, shown))
    axes.set(title="what is measured", xlabel="bonds cut", ylabel="probability")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.2))


def _gradient(axes: Axes, config: Any, blocks: Arrays, name: str) -> None:
    if config.alternating:
        layers = np.arange(1, config.depth + 1)
        for (block, values), marker, label in zip(blocks.items(), "os", ("γ", "β"), strict=True):
            axes.plot(layers, values, marker, color="#222222" if block == "gamma" else "#888888", label=f"by {label}")
        axes.axhline(0, color="#BBBBBB", linewidth=0.8)
        axes.set(title=f"gradient, {name}", xlabel="layer", ylabel="∂L/∂θ (per radian)", xticks=layers)
        axes.legend(fontsize=9)
        return
    matrix = np.concatenate(list(blocks.values()), axis=1)
    limit = largest(matrix)
    mesh = axes.imshow(matrix, cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto", origin="lower")
    axes.set(title=f"gradient, {name}", xlabel="rotation gate, in the circuit's order", ylabel="qubit")
    axes.figure.colorbar(mesh, ax=axes, label="∂L/∂θ (per radian)")
