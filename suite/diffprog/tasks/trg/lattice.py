"""The lattice and its coarse-graining as tables that all backends share: host-side, NumPy, nothing of a framework.

The tensors of a lattice are numbered so that the first half are those of sublattice A and the second half those of B.
The new tensors sit on the plaquettes whose top left corner is an A; the lattice that they form is turned by 45° and
has half as many sites (Levin, Nave, cond-mat/0611687, figs. 2 and 3). Here every site has a tensor of its own. A
lattice of equal tensors is the case of one tensor that is A and B at the same time: half of 1 is then 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffprog.spec import Array


@dataclass(frozen=True)
class Step:
    """One coarse-graining: ``sites`` tensors of bond dimension D = ``dim`` become ``half`` tensors of ``keep``."""

    sites: int
    dim: int
    keep: int
    start: int
    """Where this step's columns begin in the table of plaquettes."""

    @property
    def half(self) -> int:
        return max(1, self.sites // 2)

    @property
    def columns(self) -> slice:
        return slice(self.start, self.start + self.half)


def bond_dimensions(chi: int, iterations: int) -> tuple[int, ...]:
    """Singular values kept at each iteration.

    A tensor just made of four factors, through inner legs of dimension D₋, has a matrix of rank D₋² at most, however
    large its own legs D are; the initial one is a spin and has rank 2. So min(χ, D², D₋²) keeps all that differ from
    zero until χ is reached, and none that is exactly zero: 2, 4, 4, 16, 16, 256 ...
    """
    kept: list[int] = []
    dim, rank = 2, 2
    for _ in range(iterations):
        keep = min(chi, rank, dim * dim)
        dim, rank = keep, dim * dim
        kept.append(keep)
    return tuple(kept)


def steps(side: int, chi: int, iterations: int) -> tuple[Step, ...]:
    """The plan for a torus of ``side``² sites, each with its own tensor; side 1 is the lattice of equal tensors."""
    sites, dim, start = side * side, 2, 0
    plan = []
    for keep in bond_dimensions(chi, iterations):
        step = Step(sites, dim, keep, start)
        plan.append(step)
        start += step.half if sites > 1 else 0
        sites, dim = step.half, keep
    return tuple(plan)


def _sublattices(right: Array, down: Array) -> Array:
    """False on A, True on B, for a connected lattice given by its neighbours: shape (n,)."""
    colour = np.full(len(right), -1)
    colour[0] = 0
    stack = [0]
    while stack:
        site = stack.pop()
        for neighbour in (int(right[site]), int(down[site])):
            if colour[neighbour] < 0:
                colour[neighbour] = 1 - colour[site]
                stack.append(neighbour)
    return np.asarray(colour, dtype=bool)


def tables(side: int) -> tuple[Array, Array]:
    """What is joined to what on a torus of ``side``² sites, a power of two.

    Returns:
        ``bonds`` (side², 4), int64: which component of θ couples a site to its neighbour up, left, down, right; θ is
        the couplings (row, column) to the right neighbour, then those to the neighbour below, both in C order.
        ``plaquettes`` (4, side² − 1), int64: for each new tensor of each step its corners top left, top right, bottom
        left, bottom right, numbered within A (top left, bottom right) or within B.
    """
    if side == 1:
        return np.zeros((1, 4), dtype=np.int64), np.zeros((4, 1), dtype=np.int64)
    sites = side * side
    index = np.arange(sites).reshape(side, side)
    vertical = sites + index
    bonds = np.stack([np.roll(vertical, 1, axis=0), np.roll(index, 1, axis=1), vertical, index], axis=-1)
    right, down = np.roll(index, -1, axis=1).ravel(), np.roll(index, -1, axis=0).ravel()
    order = np.argsort(_sublattices(right, down), kind="stable")
    levels = []
    bonds = bonds.reshape(sites, 4)[order]
    while len(right) > 1:
        place = np.argsort(order)
        right, down = place[right[order]], place[down[order]]
        half = len(right) // 2
        top_left = np.arange(half)
        bottom_left = down[:half]
        bottom_right = right[bottom_left]
        corners = np.stack([top_left, right[:half] - half, bottom_left - half, bottom_right])
        # A plaquette is named by its top left corner. Through its bottom right corner it meets the plaquette that has
        # that corner top left; through its bottom left one that which has it top right.
        right, down = bottom_right, np.argsort(right)[bottom_left]
        order = np.argsort(_sublattices(right, down), kind="stable")
        levels.append(corners[:, order])
    return bonds, np.concatenate(levels, axis=1)


def multiply_adds(step: Step) -> int:
    """Those of a step's contractions: two pairs of factors into χ²×D² matrices, D³χ² each, and their product, D²χ⁴."""
    d, k = step.dim, step.keep
    return step.half * (2 * d**3 * k**2 + d**2 * k**4)


@dataclass
class Tally:
    """Counts what a coarse-graining really does."""

    iterations: int = 0
    svds: int = 0
    bond_dimension: int = 0
    multiply_adds: int = 0

    def splitting(self, split: Callable[[Any, int], Any]) -> Callable[[Any, int], Any]:
        """``split``, counting itself and the matrices (batch, D², D²) that it is given."""

        def counted(matrices: Any, keep: int) -> Any:
            factors = split(matrices, keep)
            self.iterations += 1
            self.svds += int(matrices.shape[0])
            self.bond_dimension = int(factors[0].shape[-1])
            return factors

        return counted

    def contracting(self, contract: Callable[[str, Any, Any], Any]) -> Callable[[str, Any, Any], Any]:
        """``contract(subscripts, a, b)``, counting the product of the dimensions of all indices."""

        def counted(subscripts: str, a: Any, b: Any) -> Any:
            left, right = subscripts.partition("->")[0].split(",")
            self.multiply_adds += math.prod((self._dimensions(left, a) | self._dimensions(right, b)).values())
            return contract(subscripts, a, b)

        return counted

    @staticmethod
    def _dimensions(indices: str, array: Any) -> dict[str, int]:
        return {index: int(size) for index, size in zip(indices, array.shape, strict=True)}

    def work(self, parameters: int) -> dict[str, int]:
        return {
            "parameters": parameters,
            "iterations": self.iterations,
            "svds": self.svds,
            "bond_dimension": self.bond_dimension,
            "multiply_adds": self.multiply_adds,
        }


def batches(plan: tuple[Step, ...]) -> Iterator[tuple[Step, int]]:
    """Runs of equal steps, which a compiler may roll into a loop: the step and how often it is repeated."""
    for index, step in enumerate(plan):
        if index and step == plan[index - 1]:
            continue
        repeated = index
        while repeated < len(plan) and plan[repeated] == step:
            repeated += 1
        yield step, repeated - index
