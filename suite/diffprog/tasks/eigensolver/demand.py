"""The least that a call must do; derived in this folder's README, under *Floor*."""

from __future__ import annotations

from diffprog.declaration import Demand
from diffprog.tasks.eigensolver import krylov
from diffprog.tasks.eigensolver.problem import EigensolverConfig


def tridiagonalisation(order: int) -> int:
    """Of a symmetric matrix by Householder's reflections, 4/3 N³ to leading order: lower triangles alone.

    A reflection of length m takes a product with a symmetric matrix, 2m², and an update of its lower triangle of rank
    two, 2m(m+1): each at least.
    """
    return sum(2 * m * m + 2 * m * (m + 1) for m in range(2, order))


def application(sites: int) -> int:
    """H on a vector: a diagonal, and for each field a multiple of the vector with one bit flipped."""
    return (1 + 2 * sites) << sites


def demand(config: EigensolverConfig, method: str, operator: str, itemsize: int) -> Demand | None:
    """None for second derivatives."""
    if operator not in ("value", "gradient"):
        return None
    sites, size = config.sites, 1 << config.sites
    given = 2 * sites + (size if config.variant == "ground_state" else config.levels)
    moved = given + 1 + (2 * sites if operator == "gradient" else 0)
    if method == "dense":
        flops = tridiagonalisation(size)
        return Demand(flops, itemsize * moved, itemsize * size * (size + 1) / 2, 2)
    applications = krylov.basis_size(size)[0] * config.levels
    # Beside each application, three terms of Lanczos' recursion: a projection, two subtractions, a norm.
    flops = applications * (application(sites) + 8 * size)
    if operator == "gradient" and config.variant == "ground_state":
        flops += application(sites) + 10 * size  # one iteration of conjugate gradients: two products and three updates
        applications += 1
    return Demand(flops, itemsize * (moved + size), itemsize * 2 * size, applications)
