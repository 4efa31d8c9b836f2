"""What both pictures of the task draw: energies against depth, and a cut on its graph."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
from matplotlib.axes import Axes
from scipy.optimize import minimize

from diffprog import tasks
from diffprog.drawing import style
from diffprog.spec import Array, Arrays
from diffprog.tasks.vqe import fermions, problem, start
from diffprog.tasks.vqe.problem import VqeConfig


def energies(config: VqeConfig, theta: Array, inputs: Arrays) -> Array:
    """L after each layer of an alternating circuit, the first before all of them: shape (p + 1,)."""
    found = [-config.qubits if config.variant == "tfim" else -len(inputs["bonds"]) / 2]
    gamma, beta = theta.astype(np.float64).reshape(2, -1)
    data = {name: array for name, array in inputs.items() if name in ("bonds", "diagonal")}
    for depth in range(1, config.depth + 1):
        shorter = dataclasses.replace(config, depth=depth)
        functions = tasks.functions("vqe", "numpy", shorter, "adjoint")
        found.append(float(functions.value(np.concatenate([gamma[:depth], beta[:depth]]), data)))
    return np.array(found)


@cache
def optima(qubits: int) -> Array:
    """The least energy of `tfim` with p = 1 … n/2 pairs of layers, by free fermions: shape (n/2,)."""
    found = []
    for depth in range(1, qubits // 2 + 1):
        config = VqeConfig("tfim", "a ring", qubits, depth, "ring")
        best = minimize(lambda theta: fermions.energy(qubits, theta), start.annealed(config), jac=True)
        found.append(float(best.fun))
    return np.array(found)


def correlations(distribution: Array, bonds: Array) -> Array:
    """⟨Z_iZ_j⟩ of each bond: shape (m,)."""
    x = np.arange(len(distribution))
    return np.array([distribution @ (1 - 2 * ((x >> i ^ x >> j) & 1)) for i, j in bonds.tolist()])


def positions(config: VqeConfig) -> Array:
    """Where the vertices are drawn, (n, 2): on a circle; the outer and inner half of a generalised Petersen graph."""
    if config.graph == "ring":
        rim, radii = config.qubits, [1.0]
    elif config.graph.startswith("K"):
        side = np.arange(config.qubits // 2) / (config.qubits // 2 - 1) * 2 - 1
        return np.concatenate([np.stack([side, np.full_like(side, y)], axis=1) for y in (0.7, -0.7)])
    else:
        rim, radii = config.qubits // 2, [1.0, 0.55]
    angle = np.pi / 2 - 2 * np.pi * np.arange(rim) / rim
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([radius * ring for radius in radii])


def graph(axes: Axes, config: VqeConfig, distribution: Array) -> None:
    """The likeliest bit string on the graph: bonds are as dark as they are likely to join unlike bits."""
    where, bonds = positions(config), problem.bonds(config)
    string = int(np.argmax(distribution))
    bits = string >> np.arange(config.qubits) & 1
    bits = bits ^ bits[0]  # the string and its complement are one cut
    unlike = (1 - correlations(distribution.astype(np.float64), bonds)) / 2
    for (i, j), chance in zip(bonds.tolist(), unlike.tolist(), strict=True):
        cut = bits[i] != bits[j]
        axes.plot(*where[[i, j]].T, color="#222222" if cut else style.ALARM, alpha=max(0.15, min(1.0, chance)),
                  linewidth=2.0, linestyle="-" if cut else "--", zorder=1)  # fmt: skip
    for bit, face in ((0, "white"), (1, "#222222")):
        axes.plot(*where[bits == bit].T, "o", markersize=11, markerfacecolor=face, markeredgecolor="#222222", zorder=2)
    total = int((bits[bonds[:, 0]] != bits[bonds[:, 1]]).sum())
    chance = distribution[string] + distribution[string ^ (1 << config.qubits) - 1]
    axes.set_title(f"likeliest: {total} of {len(bonds)} bonds cut, {100 * chance:.1f} %")
    axes.set(aspect="equal", xticks=[], yticks=[], xlim=(-1.25, 1.25), ylim=(-1.25, 1.25))
    axes.spines[:].set_visible(False)


def cut_sizes(distribution: Array, diagonal: Array) -> Array:
    """The probability of each number of cut bonds: shape (largest + 1,)."""
    return np.bincount(diagonal.astype(int), weights=distribution.astype(np.float64))
