"""The problems of the tensor renormalisation group: variants, sizes, inputs, the work that they are.

Source: Levin, Nave, "Tensor renormalization group approach to 2D classical lattice models", cond-mat/0611687;
Liao, Liu, Wang, Xiang, "Differentiable programming tensor networks", arXiv:1903.09650, section III.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffprog.errors import UsageError
from diffprog.spec import Arrays, Block, Layout
from diffprog.tasks.trg import lattice

ETA = 1e-12
"""Broadening η of F = 1/d to d/(d² + η) in the reverse rule of the SVD, d = s_j − s_i with max|T| = 1."""
COUPLINGS = (0.3, 0.5)
"""K is uniform on this interval; the critical one is ln(1+√2)/2 = 0.4407."""


@dataclass(frozen=True)
class TrgConfig:
    """One problem: ``chi`` χ singular values kept at most, in ``iterations`` coarse-grainings."""

    variant: str
    size: str
    chi: int
    iterations: int
    side: int
    """Sites along the torus of ``disordered``, a power of two; 1 for ``classic``, whose tensors are all equal."""

    @property
    def sites_per_bond(self) -> float:
        """Turns ∂(ln Z/N)/∂θ into the correlation ⟨ss′⟩ of one bond: sites over bonds that share a parameter."""
        return 0.5 if self.variant == "classic" else float(self.side**2)


_CONFIGS = (
    TrgConfig("classic", "tiny", 4, 4, 1),
    TrgConfig("classic", "small", 16, 20, 1),
    TrgConfig("classic", "medium", 24, 20, 1),
    TrgConfig("classic", "large", 48, 20, 1),
    TrgConfig("disordered", "tiny", 4, 4, 4),
    TrgConfig("disordered", "small", 16, 6, 8),
    TrgConfig("disordered", "medium", 24, 8, 16),
    TrgConfig("disordered", "large", 32, 10, 32),
)
_SIZES = {(config.variant, config.size): config for config in _CONFIGS}


def configure(variant: str, size: str) -> TrgConfig:
    try:
        return _SIZES[variant, size]
    except KeyError:
        raise UsageError(f"task trg has no variant {variant!r} of size {size!r}") from None


def layout(config: TrgConfig) -> Layout:
    """``classic``: K. ``disordered``: the couplings of (row, column) to the right and to the site below."""
    if config.variant == "classic":
        return Layout((Block("K", (1,)),))
    shape = (config.side, config.side)
    return Layout((Block("right", shape), Block("down", shape)))


def draw(config: TrgConfig, seed: int) -> Arrays:
    """Inputs of a case.

    ``params`` (P,) and ``weights`` (iterations + 1,), the 2⁻ⁿ of ln Z / N, are float64; the tables ``bonds`` and
    ``plaquettes`` of ``lattice.tables`` are int64.
    """
    bonds, plaquettes = lattice.tables(config.side)
    params = np.random.default_rng(seed).uniform(*COUPLINGS, layout(config).size)
    weights = 0.5 ** np.arange(config.iterations + 1)
    return {"params": params, "weights": weights, "bonds": bonds, "plaquettes": plaquettes}


def work(config: TrgConfig) -> dict[str, int]:
    plan = lattice.steps(config.side, config.chi, config.iterations)
    return {
        "parameters": layout(config).size,
        "iterations": len(plan),
        "svds": sum(2 * step.half for step in plan),
        "bond_dimension": plan[-1].keep,
        "multiply_adds": sum(map(lattice.multiply_adds, plan)),
    }


def extent(config: TrgConfig) -> tuple[str, float]:
    """χ, whose sixth power a step costs. Iterations, and the side of ``disordered``, grow with the size as well."""
    return "bond dimension χ", float(config.chi)


def memory(config: TrgConfig, method: str, itemsize: int) -> int:
    """The tape keeps of each step U and V of every matrix, (D², D²), its factors, and the two χ²×D² products.

    On top come a step's own arrays: some eight of the size of its matrices for the SVD and its workspace or for the
    reverse rule, and four of the size of its new tensors.
    """
    tape, most = 0, 0
    for step in lattice.steps(config.side, config.chi, config.iterations):
        d, k = step.dim, step.keep
        matrices, tensors = 2 * step.half * d**4, step.half * k**4
        tape += 2 * matrices + step.half * (8 * d**2 * k + 2 * d**2 * k**2)
        most = max(most, 8 * matrices + 4 * tensors)
    return (tape + most) * itemsize
