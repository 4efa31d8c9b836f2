"""The Ising model: free energy and energy beside Onsager's, or the correlations of a random torus, and the spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from diffprog.drawing import style
from diffprog.drawing.shown import Shown
from diffprog.spec import Array, Arrays, Case
from diffprog.tasks.trg import exact

OUTPUT = "correlations"
"""What it needs of a cell's arrays."""
_COUPLINGS = np.linspace(0.25, 0.55, 121)
"""K of the exact curves; the critical one is not among them."""


def picture(case: Case, inputs: Arrays, shown: Sequence[Shown]) -> Figure | None:
    """One coupling against the infinite lattice, or the correlations of all bonds of a torus."""
    theta, given = inputs.get("params"), shown[0].arrays
    if theta is None or theta.ndim != 1 or given["correlations"].shape != theta.shape:
        return None
    figure = style.figure(6.6 if theta.size == 1 else 7.4)
    iterations = len(inputs["weights"]) - 1
    parts: Any = figure.subfigures(2, 1, height_ratios=[1.15, 1] if theta.size == 1 else [1.5, 1])
    above = parts[0].subplots(1, 2)
    below = parts[1].subplots(1, 2)
    if theta.size == 1:
        figure.suptitle(
            f"{case.key}: 2^{iterations} sites at K = {theta[0]:.4f}, and the infinite lattice", fontsize=11
        )
        coupling = float(theta[0])
        _curve(above[0], "free_energy", "free energy per site, −ln Z / N", coupling, shown)
        _curve(above[1], "energy", "energy per site, in units of J", coupling, shown)
        _deviations(below[0], coupling, shown)
    else:
        side = round((theta.size / 2) ** 0.5)
        figure.suptitle(f"{case.key}: a {side}×{side} torus of random couplings", fontsize=11)
        _bonds(above[0], given["correlations"].reshape(2, side, side))
        _correlations(above[1], theta, shown)
        _differences(below[0], shown)
    _spectrum(below[1], shown)
    return figure


def _exact(output: str, coupling: float) -> float:
    return -exact.log_partition(coupling) if output == "free_energy" else exact.energy(coupling)


def _curve(axes: Axes, output: str, label: str, coupling: float, shown: Sequence[Shown]) -> None:
    axes.plot(_COUPLINGS, [_exact(output, float(k)) for k in _COUPLINGS], color="#888888", label="Onsager, exact")
    for index, one in enumerate(shown):
        # Coinciding points: each next one is smaller, so that the ones below stay visible.
        axes.plot(
            [coupling], [float(one.arrays[output])], style.MARKERS.get(one.backend, "x"),
            color=style.colour(one.backend), markersize=13 * 0.72**index, linestyle="none",
            label=one.beside(shown[0], output),
        )  # fmt: skip
    axes.axvline(exact.CRITICAL, color="#BBBBBB", linewidth=0.8, linestyle=":")
    axes.set(xlabel="coupling K (dotted: the critical one)", ylabel=label)
    if output == "free_energy":
        axes.legend(fontsize=8.5)


def _deviations(axes: Axes, coupling: float, shown: Sequence[Shown]) -> None:
    """How far each backend is from Onsager: what was truncated, and that the lattice is finite; nobody's rounding."""
    rows = [("free_energy", 0.2, "//", "free energy"), ("energy", -0.2, "", "energy")]
    for output, offset, hatch, name in rows:
        reference = _exact(output, coupling)
        lengths = [abs(float(one.arrays[output]) - reference) for one in shown]
        axes.barh(
            [-i + offset for i in range(len(shown))], lengths, height=0.36, hatch=hatch, edgecolor="white",
            color=[style.colour(one.backend) for one in shown],
        )  # fmt: skip
        for i, length in enumerate(lengths):
            axes.annotate(
                f"{name} {length:.1e}",
                (length, -i + offset),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
    if any(np.isfinite(_found(one)).all() for one in shown):
        axes.set_xscale("log")
    axes.set_yticks([-i for i in range(len(shown))], [one.name for one in shown])
    axes.set_xlabel("distance from Onsager (truncation, finite lattice)")
    axes.margins(x=0.4)


def _found(one: Shown) -> Array:
    return np.array([one.arrays["free_energy"], one.arrays["energy"]])


def _bonds(axes: Axes, correlations: Array) -> None:
    """The torus, each bond coloured by its ⟨ss′⟩; those that close it stick out to the right and below."""
    _, rows, columns = correlations.shape
    y, x = np.mgrid[:rows, :columns]
    start = np.stack([x, y], axis=-1).reshape(-1, 2)
    lines = np.concatenate(
        [np.stack([start, start + step], axis=1) for step in ([1, 0], [0, 1])],
    )
    drawn = LineCollection(list(lines), array=correlations.ravel(), cmap="viridis", linewidths=max(1.2, 26 / rows))
    axes.add_collection(drawn)
    axes.plot(*start.T, "o", color="#333333", markersize=max(1.0, 26 / rows))
    axes.set(aspect="equal", xticks=[], yticks=[], xlim=(-0.4, columns), ylim=(rows, -0.4))
    axes.spines[:].set_visible(False)
    axes.figure.colorbar(drawn, ax=axes, label="⟨ss′⟩ of each bond", pad=0.02)


def _correlations(axes: Axes, theta: Array, shown: Sequence[Shown]) -> None:
    """⟨ss′⟩ against a bond's own K: not a curve, since it depends on all the other couplings too."""
    for index, one in enumerate(shown):
        axes.plot(
            theta, one.arrays["correlations"], style.MARKERS.get(one.backend, "x"), color=style.colour(one.backend),
            markersize=7 * 0.72**index, linestyle="none", label=one.beside(shown[0], "correlations"),
        )  # fmt: skip
    low, high = theta.min() - 0.01, theta.max() + 0.01
    curve = np.array([[k, -exact.energy(float(k)) / 2] for k in _COUPLINGS if low < k < high])
    axes.plot(*curve.T, color="#888888", label="Onsager, all bonds equal", zorder=0)
    axes.set(xlabel="coupling K of the bond", ylabel="⟨ss′⟩")
    axes.legend(fontsize=8.5)


def _differences(axes: Axes, shown: Sequence[Shown]) -> None:
    """Each backend's correlations less the reference's, bond by bond; equal ones have no mark on a logarithmic axis."""
    reference = shown[0].arrays["correlations"]
    for one in shown[1:]:
        axes.plot(
            np.abs(one.arrays["correlations"] - reference), style.MARKERS.get(one.backend, "x"), markersize=3.5,
            color=style.colour(one.backend), linestyle="none", label=one.name,
        )  # fmt: skip
    axes.set(xlabel="component of θ", ylabel=f"|⟨ss′⟩ − {shown[0].backend}'s|")
    if len(shown) > 1:
        axes.set_yscale("log")
        axes.legend(fontsize=8.5)


def _spectrum(axes: Axes, shown: Sequence[Shown]) -> None:
    for index, one in enumerate(shown):
        spectrum = one.arrays.get("spectrum")
        if spectrum is not None:
            axes.plot(
                np.arange(1, spectrum.size + 1), spectrum, style.MARKERS.get(one.backend, "x"),
                color=style.colour(one.backend), markersize=8 * 0.72**index, linestyle="none", label=one.name,
            )  # fmt: skip
    axes.set_yscale("log")
    axes.set(xlabel="singular value of the last step", ylabel="relative to the largest")
