"""The classifier at drawn parameters: how likely it finds the label 1, by label, and the gradient by gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from diffprog import tasks
from diffprog.drawing import style
from diffprog.drawing.shown import Shown, largest
from diffprog.errors import UsageError
from diffprog.spec import Arrays, Case
from diffprog.tasks.classifier import drawn

OUTPUT = "probabilities"
"""What it needs of a cell's arrays."""
_IMAGES = 10


def picture(case: Case, inputs: Arrays, shown: Sequence[Shown]) -> Figure | None:
    """At the case's own parameters: nothing is trained here."""
    try:
        task = tasks.get(case.task)
        config = task.configure(case.variant, case.size)
    except UsageError:
        return None
    chances = shown[0].arrays[OUTPUT]
    if config.source not in inputs or chances.shape != inputs["labels"].shape:
        return None
    figure = style.figure(5.6 if config.uploads_images else 4.2)
    figure.suptitle(f"{case.key}: {task.describe(config)}, at the drawn parameters (not trained)", fontsize=11)
    parts: Any = figure.subfigures(2, 1, height_ratios=[4, 1.4]) if config.uploads_images else [figure]
    left, right = parts[0].subplots(1, 2)
    _chances(left, inputs, shown)
    _gradient(right, task.layout(config).split(shown[0].arrays["gradient"]), config.qubits, shown[0].name)
    if config.uploads_images:
        first = slice(0, min(_IMAGES, config.samples))
        drawn.images(parts[1], inputs["images"][first], chances[first], inputs["labels"][first], config.side)
    return figure


def _chances(axes: Axes, inputs: Arrays, shown: Sequence[Shown]) -> None:
    """Sorted within each label; coinciding curves, so each next one is thinner."""
    order = np.lexsort((shown[0].arrays[OUTPUT], inputs["labels"]))
    ones = int(np.flatnonzero(inputs["labels"][order] > 0.5).min(initial=len(order)))
    for index, one in enumerate(shown):
        axes.plot(one.arrays[OUTPUT][order], color=style.colour(one.backend), linewidth=5 * 0.65**index,
                  label=one.beside(shown[0], OUTPUT))  # fmt: skip
    axes.axvline(ones - 0.5, color="#BBBBBB", linewidth=0.9)
    axes.axhline(0.5, color="#BBBBBB", linewidth=0.9, linestyle="--")
    for where, label in ((ones / 2, "label 0"), ((ones + len(order)) / 2, "label 1")):
        axes.text(where, 1.0, label, ha="center", va="top", fontsize=9, color="#666666")
    axes.set(title="p of every sample", xlabel="sample, by label and p", ylabel="p", ylim=(0, 1.02))
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.18))


def _gradient(axes: Axes, blocks: Arrays, qubits: int, name: str) -> None:
    matrix = np.concatenate(list(blocks.values()), axis=1)
    limit = largest(matrix)
    mesh = axes.imshow(matrix, cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto", origin="lower")
    axes.set(title=f"gradient, {name}", xlabel="rotation gate, in the circuit's order", ylabel="qubit")
    axes.set_yticks(range(qubits))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.figure.colorbar(mesh, ax=axes, pad=0.02).ax.set_title("∂L/∂θ", fontsize=9, fontweight="normal")
