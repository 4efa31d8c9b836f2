"""The problems of the eigensolver: variants, sizes, inputs, the work that they are.

Sources: Fujita, Nakagawa, Sugiura, Oshikawa, "Construction of Hamiltonians by supervised learning of energy and
entanglement spectra", arXiv:1705.05372 (``spectrum``); Xie, Liu, Wang, "Automatic differentiation of dominant
eigensolver and its applications in quantum physics", arXiv:2001.04121 (``dominant``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffprog.errors import UsageError
from diffprog.spec import Array, Arrays, Block, Layout
from diffprog.tasks.eigensolver import hamiltonian, krylov


@dataclass(frozen=True)
class EigensolverConfig:
    """One problem: a chain of ``sites`` L ≥ 2, whose loss is made of its ``levels`` lowest eigenpairs."""

    variant: str
    """The loss: ``ground_state`` or ``spectrum``. A ``long_chain`` has the former."""
    size: str
    sites: int
    levels: int
    """1 for ``ground_state``; m energies for ``spectrum``."""


MIN_GAP = 0.02
"""Between any two of the levels that matter, in the chains that are drawn; most have it at the first attempt."""
MOST_DENSE = 12
"""Sites that ``dense`` goes up to: the matrix takes 128 MiB there, 16 times as much with every two sites more."""
_SITES = {"tiny": 4, "small": 8, "medium": 10, "large": 12}
_LONG = {"tiny": 6, "small": 10, "medium": 14, "large": 16}
_VARIANTS = {"ground_state": ("ground_state", _SITES, 1), "spectrum": ("spectrum", _SITES, 4)}
_VARIANTS["long_chain"] = ("ground_state", _LONG, 1)


def configure(variant: str, size: str) -> EigensolverConfig:
    try:
        loss, sites, levels = _VARIANTS[variant]
        return EigensolverConfig(loss, size, sites[size], levels)
    except KeyError:
        raise UsageError(f"task eigensolver has no variant {variant!r} of size {size!r}") from None


def check_method(config: EigensolverConfig, method: str) -> None:
    """Raises NotImplementedError where a method does not reach."""
    if method == "dense" and config.sites > MOST_DENSE:
        gib = 8 * 4**config.sites / 2**30
        raise NotImplementedError(
            f"a dense H of {config.sites} sites has {gib:g} GiB, and dense goes up to {MOST_DENSE} sites: use dominant"
        )


def layout(config: EigensolverConfig) -> Layout:
    return Layout((Block("J", (config.sites,)), Block("h", (config.sites,))))


def draw(config: EigensolverConfig, seed: int) -> Arrays:
    """Inputs of a case, all float64.

    ``params`` (2L,); ``start`` (2ᴸ,), where Krylov spaces start; of a planted chain the couplings ``planted`` (2L,),
    for the closed form, and ``target``: its ground state (2ᴸ,), or for ``spectrum`` its m lowest energies (m,).
    Couplings are uniform on [1/2, 3/2), and drawn again while two of the m+1 lowest levels are nearer to each other
    than MIN_GAP: errors grow as its inverse.
    """
    rng = np.random.default_rng(seed)
    # Positive, as the ground state is where all couplings are, but without any symmetry of the chain.
    start = rng.uniform(0, 1, 2**config.sites)
    params, _ = _gapped(config, start, rng)
    planted, found = _gapped(config, start, rng)
    target = found.vectors[0] if config.variant == "ground_state" else found.energies[: config.levels]
    return {"params": params, "start": start, "planted": planted, "target": target}


def _gapped(config: EigensolverConfig, start: Array, rng: np.random.Generator) -> tuple[Array, krylov.Levels]:
    """Couplings (2L,) and their m+1 lowest levels."""
    while True:
        theta = rng.uniform(0.5, 1.5, 2 * config.sites)
        found = krylov.levels(hamiltonian.Operator(theta), start, hamiltonian.bound(theta), config.levels + 1)
        if np.diff(found.energies).min() >= MIN_GAP:
            return theta, found


def work(config: EigensolverConfig) -> dict[str, int]:
    """The Hamiltonian that is really built. Iterations are a method's affair and rounding's."""
    sites = config.sites
    return {"parameters": 2 * sites, "matrix_size": 2**sites, "bonds": sites, "fields": sites}


def extent(config: EigensolverConfig) -> tuple[str, float]:
    """The order of H: ``dense`` costs its cube, ``dominant`` little more than itself."""
    return "matrix size 2ᴸ", float(1 << config.sites)


def memory(config: EigensolverConfig, method: str, itemsize: int) -> int:
    """``dense``: H, its eigenvectors, LAPACK's workspace of two more, a cotangent of H, one for what copies.

    ``dominant``: the Krylov basis and its rotation at a restart, found levels, and some eight vectors more; for the
    halves of the chain, matrices of 2ᴸ elements or twice as many, as tables of indices come with them.
    """
    size = 1 << config.sites
    if method == "dense" and config.sites > MOST_DENSE:
        return itemsize * 3 * size  # refused once the inputs are read
    if method == "dense":
        return itemsize * 6 * size**2 + 8 * 4 * config.sites * size
    vectors = 2 * krylov.BASIS + 2 * (config.levels + 1) + 8
    return itemsize * (vectors + 4) * size + 8 * 4 * config.sites * (1 << hamiltonian.halves(config.sites)[1])
