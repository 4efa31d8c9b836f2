"""The trained classifier: confusions, the images that it is least sure of, or the line that it draws in the plane."""

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
from diffprog.tasks.classifier import drawn

_IMAGES = 10


def picture(case: Case, inputs: Arrays, learned: Sequence[Learned]) -> tuple[Figure | None, str]:
    config = tasks.get(case.task).configure(case.variant, case.size)
    best = learned[0]
    known, unseen = best.arrays["probabilities"], best.arrays["held_out"]
    figure = style.figure(6.2 if config.uploads_images else 4.6)
    parts: Any = figure.subfigures(2, 1, height_ratios=[4.4, 1.8]) if config.uploads_images else [figure]
    left, middle, right = parts[0].subplots(1, 3, width_ratios=[2.2 if config.uploads_images else 2.8, 1, 1])
    drawn.matrix(middle, drawn.confusion(known, inputs["labels"]), "training")
    drawn.matrix(right, drawn.confusion(unseen, inputs["held_labels"]), "held out")
    if not config.uploads_images:
        mesh = drawn.plane(left, config, best.arrays["theta"], inputs)
        drawn.points(left, inputs["points"], inputs["labels"], known, held=False)
        drawn.points(left, inputs["held_points"], inputs["held_labels"], unseen, held=True)
        for index, one in enumerate(learned):
            x, y, p = drawn.over_the_plane(config, one.arrays["theta"], inputs)
            left.contour(x, y, p, [0.5], colors=[style.colour(one.fit.backend)], linewidths=4 * 0.6**index)
            left.plot([], color=style.colour(one.fit.backend), label=_told(one, inputs))
        figure.colorbar(mesh, ax=left, orientation="horizontal", location="top", shrink=0.6, aspect=40).set_label("p")
        figure.legend(fontsize=8, loc="outside lower left", ncols=2)
        return (
            figure,
            f"p over the plane and the line p = ½ of each backend; mistaken points ringed; counts of {best.name}.",
        )
    _held_out(left, inputs, learned)
    chosen = drawn.least_certain(unseen, inputs["held_labels"], _IMAGES)
    wrong = int(((unseen > 0.5) != (inputs["held_labels"] > 0.5)).sum())
    parts[1].suptitle(
        f"held-out images that {best.name} is least sure of; mistaken: {wrong}", x=0.005, ha="left", fontsize=9
    )
    drawn.images(parts[1], inputs["held_images"][chosen], unseen[chosen], inputs["held_labels"][chosen], config.side)
    return figure, f"p of the images that are held out, by backend; confusions and images of {best.name}."


def _told(one: Learned, inputs: Arrays) -> str:
    known = drawn.accuracy(one.arrays["probabilities"], inputs["labels"])
    unseen = drawn.accuracy(one.arrays["held_out"], inputs["held_labels"])
    return f"{one.name}: {100 * known:.1f} % right in training, {100 * unseen:.1f} % held out"


def _held_out(axes: Axes, inputs: Arrays, learned: Sequence[Learned]) -> None:
    """Sorted within each label; coinciding curves, so each next one is thinner."""
    labels = inputs["held_labels"]
    order = np.lexsort((learned[0].arrays["held_out"], labels))
    ones = int((labels < 0.5).sum())
    for index, one in enumerate(learned):
        axes.plot(one.arrays["held_out"][order], color=style.colour(one.fit.backend), linewidth=5 * 0.6**index,
                  label=_told(one, inputs))  # fmt: skip
    axes.axvline(ones - 0.5, color="#BBBBBB", linewidth=0.9)
    axes.axhline(0.5, color="#BBBBBB", linewidth=0.9, linestyle="--")
    axes.text(ones / 2, 1.0, "zeros", ha="center", va="top", fontsize=9, color="#666666")
    axes.text((ones + len(labels)) / 2, 0.0, "ones", ha="center", va="bottom", fontsize=9, color="#666666")
    axes.set(title="p of every held-out image", xlabel="image, by label and p", ylabel="p", ylim=(-0.02, 1.02))
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.18))
