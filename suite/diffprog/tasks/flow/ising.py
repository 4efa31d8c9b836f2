"""The periodic two-dimensional Ising model, its continuous dual, and the exact free energy of both.

On the L×L torus with adjacency matrix A, exp(½ sᵀ(A/T)s) summed over spins is, by a Hubbard-Stratonovich transformation
with K' = A/T + δ (δ makes it positive definite), the integral over x of exp(−½ xᵀK'⁻¹x) Π cosh x_i times constants:
Zhang, E, Wang, arXiv:1809.10188, section 4.2; Fisher, Statistical physics in the oven, Am. J. Phys. 51 (1983).
"""

from __future__ import annotations

import math

import numpy as np

from diffprog.spec import Array

CRITICAL = 2 / math.log1p(math.sqrt(2))
"""Onsager's critical temperature in units of the coupling (Phys. Rev. 65, 117, 1944)."""
_MARGIN = 0.1
"""The smallest eigenvalue of K'."""


def adjacency(side: int) -> Array:
    """The number of bonds between each two sites of the torus, (side², side²), sites in C order; ``side`` above 2."""
    sites = np.arange(side * side).reshape(side, side)
    bonds = np.zeros((side * side, side * side))
    for axis in (0, 1):
        bonds[sites.ravel(), np.roll(sites, -1, axis).ravel()] += 1
    bonds += bonds.T
    return bonds


def coupling(side: int, temperature: float) -> tuple[Array, float]:
    """K' = A/T + δI of shape (side², side²) and δ, chosen so that the smallest eigenvalue of K' is 0.1."""
    plain = adjacency(side) / temperature
    shift = _MARGIN - float(np.linalg.eigvalsh(plain)[0])
    return plain + shift * np.eye(side * side), shift


def log_partition(side: int, temperature: float) -> float:
    """Ln Z of the Ising model on the side×side torus, without a field: Kaufman, Phys. Rev. 76, 1232 (1949), eq. 53.

    Z = ½ (2 sinh 2K)^(N/2) Σ of four products over r of 2cosh(Lγ_r/2) or 2sinh(Lγ_r/2), r odd or even in 0..2L−1, with
    K = 1/T and cosh γ_r = cosh 2K coth 2K − cos(πr/L). γ_0 = 2K + ln tanh K has the sign that the branch needs. The sum
    is taken of logarithms with their signs, so that it overflows for no side.
    """
    k = 1 / temperature
    r = np.arange(1, 2 * side)
    gamma = np.arccosh(math.cosh(2 * k) / math.tanh(2 * k) - np.cos(np.pi * r / side))
    gamma = np.concatenate([[2 * k + math.log(math.tanh(k))], gamma])
    half = side * np.abs(gamma) / 2
    with np.errstate(divide="ignore"):  # γ_0 = 0 at the critical point: that product is zero
        log_cosh, log_sinh = half + np.log1p(np.exp(-2 * half)), half + np.log(-np.expm1(-2 * half))
    terms = [part[parity::2].sum() for parity in (1, 0) for part in (log_cosh, log_sinh)]
    signs = [1.0, 1.0, 1.0, float(np.sign(gamma[0]))]
    top = max(terms)
    total = sum(sign * math.exp(term - top) for sign, term in zip(signs, terms, strict=True))
    logarithm: float = side * side / 2 * math.log(2 * math.sinh(2 * k)) - math.log(2) + top + math.log(total)
    return logarithm


def free_energy(side: int, temperature: float) -> float:
    """−ln Z of the continuous dual, exact, in nats: −ln Z_Ising + (N/2)(ln 4 − δ − ln 2π) − ½ ln det K'."""
    matrix, shift = coupling(side, temperature)
    sites = side * side
    _, log_determinant = np.linalg.slogdet(matrix)
    constants = sites / 2 * (math.log(4) - shift - math.log(2 * math.pi))
    return -log_partition(side, temperature) + constants - float(log_determinant) / 2
