"""The quantum chain: its lowest levels, what they are fitted to, and the couplings and where their gradient leads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffprog.drawing import style
from diffprog.drawing.shown import Shown, largest
from diffprog.spec import Array, Arrays, Case

OUTPUT = "energies"
"""What it needs of a cell's arrays."""
_STATES = 32
"""Basis states that are drawn, the target's likeliest first."""


def picture(case: Case, inputs: Arrays, shown: Sequence[Shown]) -> Figure | None:
    """Levels of every backend on one another; below, the state beside its target, if the loss is made of it."""
    theta, target = inputs.get("params"), inputs.get("target")
    energies = shown[0].arrays["energies"]
    if theta is None or target is None or energies.ndim != 1 or theta.size % 2:
        return None
    states = shown[0].arrays.get("state")
    fits = states is not None and states.shape == target.shape
    figure = style.figure(6.4 if fits else 3.6)
    figure.suptitle(
        f"{case.key}: {theta.size // 2} sites, at the drawn couplings (not fitted), gap {_gap(energies)}", fontsize=11
    )
    axes = figure.subplot_mosaic([["levels", "couplings"], ["state", "state"]] if fits else [["levels", "couplings"]])
    _levels(axes["levels"], None if fits else target, shown)
    _couplings(axes["couplings"], theta, shown[0].arrays.get("gradient"))
    if fits:
        _state(axes["state"], target, shown)
    # Outside, where the names of backends and their distances cover nothing.
    figure.legend(*axes["levels"].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9,
                  labelspacing=0.9)  # fmt: skip
    return figure


def _gap(energies: Array) -> str:
    gaps = np.diff(energies)
    return f"{gaps.min():.3g}" if gaps.size and np.isfinite(gaps).all() else "unknown"


def _levels(axes: Axes, target: Array | None, shown: Sequence[Shown]) -> None:
    """E_k against k; bars are the levels to be reached. Rings of backends that agree have one centre."""
    if target is not None and target.ndim == 1:
        axes.hlines(target, np.arange(target.size) - 0.4, np.arange(target.size) + 0.4, color="#AAAAAA", linewidth=5,
                    label="planted levels: the target", zorder=1)  # fmt: skip
    for index, one in enumerate(shown):
        energies = one.arrays["energies"]
        axes.scatter(
            np.arange(energies.size), energies, s=260 * 0.5**index, facecolors="none", linewidths=1.8,
            edgecolors=style.colour(one.backend), label=one.beside(shown[0], "energies"), zorder=2,
        )  # fmt: skip
    axes.set_xticks(np.arange(shown[0].arrays["energies"].size))
    axes.set_xlim(-0.6, shown[0].arrays["energies"].size - 0.4)
    axes.margins(y=0.15)
    axes.set(xlabel="level k, lowest first", ylabel="energy E_k")


def _couplings(axes: Axes, theta: Array, gradient: Array | None) -> None:
    """J of each bond and h of each site; arrows show −∂L/∂θ, the longest of them of a fixed length."""
    sites = theta.size // 2
    scale = 0.0
    if gradient is not None and gradient.shape == theta.shape and np.isfinite(gradient).all():
        scale = 0.35 / largest(gradient)
    for name, offset, marker, colour, part in (
        ("J of bond i, i+1", 0.0, "o", "#444444", slice(0, sites)),
        ("h of site i", 0.3, "s", "#9A6700", slice(sites, None)),
    ):
        x, y = np.arange(sites) + offset, theta[part]
        if scale and gradient is not None:
            axes.quiver(x, y, 0 * x, -scale * gradient[part], angles="xy", scale_units="xy", scale=1, color=colour,
                        alpha=0.6, width=0.006)  # fmt: skip
        axes.scatter(x, y, marker=marker, s=26, color=colour, label=name, zorder=3)
    axes.set_xticks(np.arange(sites))
    axes.set_ylim(float(theta.min()) - 0.45, float(theta.max()) + 0.45)
    if scale and gradient is not None:
        axes.set_title(f"arrows: -∂L/∂θ, the longest {largest(gradient):.2g}", fontweight="normal", fontsize=9)
    axes.set(xlabel="i", ylabel="coupling")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)


def _state(axes: Axes, target: Array, shown: Sequence[Shown]) -> None:
    """Probabilities of the basis states, those that the target likes most."""
    likeliest = np.argsort(-np.abs(target), kind="stable")[:_STATES]
    edges = np.arange(likeliest.size + 1) - 0.5
    axes.stairs(target[likeliest] ** 2, edges, fill=True, color="#C8C8C8", label="planted ground state: the target")
    for index, one in enumerate(shown):
        state = one.arrays.get("state")
        if state is not None and state.shape == target.shape:
            axes.stairs(
                state[likeliest] ** 2, edges, baseline=None, color=style.colour(one.backend),
                linewidth=4.5 * 0.65**index, label=one.beside(shown[0], "state"),
            )  # fmt: skip
    sites = int(target.size).bit_length() - 1
    every = max(1, likeliest.size // 16) if sites > 4 else 1
    names = [f"{int(x):0{sites}b}" for x in likeliest[::every]]
    axes.set_xticks(np.arange(likeliest.size)[::every], names, rotation=90, fontsize=7)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0)
    shown_share = float((target[likeliest] ** 2).sum())
    axes.set_xlabel(f"spins, site 0 last, 1 is down; these have {shown_share:.0%} of the target's probability")
    axes.set_ylabel("probability")
    axes.legend(loc="upper right", fontsize=9)
