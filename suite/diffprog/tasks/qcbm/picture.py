"""The Born machine: the circuit's distribution beside its target, the gradient by gate, and the likeliest images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from diffprog import tasks
from diffprog.circuits import tables
from diffprog.drawing import style
from diffprog.drawing.shown import Shown, bins, largest
from diffprog.errors import UsageError
from diffprog.spec import Array, Arrays, Case
from diffprog.tasks.qcbm import patterns, problem
from diffprog.tasks.qcbm.patterns import Player

OUTPUT = "distribution"
"""What it needs of a cell's arrays."""
_IMAGES = 8


def picture(case: Case, inputs: Arrays, shown: Sequence[Shown]) -> Figure | None:
    """Target against circuit at the case's own parameters (nothing is trained here)."""
    if "target" not in inputs:
        return None
    target, distribution = inputs["target"], shown[0].arrays["distribution"]
    if distribution.shape != target.shape:
        return None
    qubits = int(target.size).bit_length() - 1
    shape = _pixels(case)
    game = bool(shape) and all("discriminator" in one.arrays for one in shown)
    heights = [4.4 if game else 3.2, 3.0] + ([2.4] if shape else [])
    figure = style.figure(sum(heights))
    figure.suptitle(f"{case.key}: {qubits} qubits, at the drawn parameters (not trained)", fontsize=11)
    parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
    if shape and game:
        patterns.draw(parts[0], shape, target, [_player(one, shown[0]) for one in shown])
        circuit, weights = parts[1].subplots(1, 2, width_ratios=[2, 1])
        _weights(parts[1], weights, case, shown[0])
    else:
        _distributions(parts[0].subplots(), target, shown)
        circuit = parts[1].subplots()
    _gradient(parts[1], circuit, case, qubits, shown[0])
    if shape:
        _images(parts[2], shape, target, distribution)
    return figure


def _player(one: Shown, reference: Shown) -> Player:
    name = one.beside(reference, "distribution").replace(": ", ":\n", 1)
    return Player(name, one.backend, one.arrays["distribution"], one.arrays["discriminator"])


def _distributions(axes: Axes, target: Array, shown: Sequence[Shown]) -> None:
    edges = np.linspace(0, target.size, bins(target).size + 1) - 0.5
    axes.stairs(bins(target), edges, fill=True, color="#C8C8C8", label="target")
    thickest = 4.5 if len(edges) <= 65 else 2.4
    for index, one in enumerate(shown):
        # Coinciding curves: each next one is thinner, so that the ones below stay visible.
        axes.stairs(
            bins(one.arrays["distribution"]), edges, baseline=None, color=style.colour(one.backend),
            linewidth=thickest * 0.65**index, label=one.beside(shown[0], "distribution"),
        )  # fmt: skip
    merged = target.size // bins(target).size
    axes.set_xlabel("bit string x as an integer" + (f", {merged} strings a bin" if merged > 1 else ""))
    axes.set_ylabel("probability" + (" of a bin" if merged > 1 else ""))
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)


def _pixels(case: Case) -> tuple[int, int] | None:
    """Rows and columns of the images that the bit strings of this case stand for, if they do."""
    try:
        config = tasks.get(case.task).configure(case.variant, case.size)
    except (ImportError, UsageError):
        return None
    return (config.rows, config.columns) if config.rows else None


def _layers(case: Case, gradient: Array, qubits: int) -> list[Array] | None:
    """The gradient by layer, each of shape (qubits, gates), or None if the layout is of another kind."""
    try:
        task = tasks.get(case.task)
        config = task.configure(case.variant, case.size)
        if config.hidden:  # the angles come first, in one block
            gradient, layout = gradient[: problem.angles(config)], tables.layout(config.qubits, config.depth)
        else:
            layout = task.layout(config)
        blocks = layout.split(gradient).values()
    except (ImportError, UsageError, ValueError):
        return None
    layers = [layer for block in blocks for layer in (block if block.ndim == 3 else [block])]
    return layers if all(layer.ndim == 2 and layer.shape[0] == qubits for layer in layers) else None


def _gradient(figure: SubFigure, axes: Axes, case: Case, qubits: int, one: Shown) -> None:
    gradient = one.arrays.get("gradient")
    if gradient is None:
        axes.set_axis_off()
        return
    layers = _layers(case, gradient, qubits)
    if layers is None:
        axes.stem(gradient, basefmt=" ")
        axes.set_xlabel("component of θ")
        axes.set_ylabel("∂L/∂θ")
        return
    matrix = np.concatenate(layers, axis=1)
    limit = largest(matrix)
    edges_x, edges_y = np.arange(matrix.shape[1] + 1), np.arange(qubits + 1) - 0.5
    mesh = axes.pcolormesh(edges_x, edges_y, matrix, cmap="PuOr", vmin=-limit, vmax=limit)
    starts = np.cumsum([0, *(layer.shape[1] for layer in layers)])
    for start in starts[1:-1]:
        axes.axvline(start, color="#666666", linewidth=0.8)
    axes.set_xticks((starts[:-1] + starts[1:]) / 2, [str(i) for i in range(len(layers))])
    axes.set_yticks(np.arange(qubits)[:: max(1, qubits // 10)])
    axes.tick_params(length=0)
    axes.set_xlabel("layer; within it one column a rotation gate, in the circuit's order")
    axes.set_ylabel("qubit")
    figure.colorbar(mesh, ax=axes, label="∂L/∂θ (per radian)", pad=0.01)


def _weights(figure: SubFigure, axes: Axes, case: Case, one: Shown) -> None:
    """The gradient by the discriminator's weights: a column a hidden unit."""
    gradient = one.arrays.get("gradient")
    if gradient is None:
        axes.set_axis_off()
        return
    task = tasks.get(case.task)
    blocks = task.layout(task.configure(case.variant, case.size)).split(gradient)
    matrix = np.vstack([blocks["W1"].T, blocks["b1"], blocks["W2"]])
    limit, inputs = largest(matrix), len(matrix) - 2
    mesh = axes.pcolormesh(
        np.arange(matrix.shape[1] + 1) - 0.5,
        np.arange(len(matrix) + 1) - 0.5,
        matrix,
        cmap="PuOr",
        vmin=-limit,
        vmax=limit,
    )
    axes.axhline(inputs - 0.5, color="#666666", linewidth=0.8)
    step = max(1, inputs // 10)
    axes.set_yticks([*range(0, inputs, step), inputs, inputs + 1], [*map(str, range(0, inputs, step)), "b₁", "W₂"])
    axes.tick_params(length=0)
    axes.set_xlabel("hidden unit")
    axes.set_ylabel("W₁, by qubit")
    figure.colorbar(mesh, ax=axes, label="∂L/∂weight", pad=0.02)


def _images(figure: SubFigure, shape: tuple[int, int], target: Array, distribution: Array) -> None:
    """The likeliest bit strings as images of ``shape`` (rows, columns); qubit i is the pixel i in C order."""
    grid = figure.subplots(2, _IMAGES)
    for row, (name, probability) in zip(grid, (("target", target), ("circuit", distribution)), strict=True):
        for axes, string in zip(row, np.argsort(-probability, kind="stable"), strict=False):
            if not probability[string] > 0:
                axes.set_axis_off()
                continue
            image = (int(string) >> np.arange(shape[0] * shape[1])) & 1
            axes.pcolormesh(image.reshape(shape), cmap="Greys", vmin=-0.15, vmax=1.3, edgecolors="#999999")
            axes.set_title(f"p = {probability[string]:.3f}", fontsize=8.5, fontweight="normal")
            axes.set(aspect="equal", xticks=[], yticks=[])
            axes.invert_yaxis()
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(f"{name}:\nlikeliest", rotation=0, ha="right", va="center")
