"""Exact solutions of the 2D Ising model without a field, per site and without dimensions, in float64.

Sources: Onsager, Phys. Rev. 65 (1944) 117 (the infinite lattice); Kaufman, Phys. Rev. 76 (1949) 1232 (the torus).
"""

from __future__ import annotations

import numpy as np
from scipy.special import ellipk

CRITICAL = float(np.log1p(np.sqrt(2)) / 2)
"""The critical coupling of the infinite lattice, 0.4407."""


def log_partition(coupling: float) -> float:
    """Ln Z / N of the infinite lattice at K > 0: an integral over one period, so that equal steps converge fast."""
    kappa = 2 * np.sinh(2 * coupling) / np.cosh(2 * coupling) ** 2
    angle = (np.arange(200_000) + 0.5) * np.pi / 200_000
    integral = np.log((1 + np.sqrt(1 - (kappa * np.sin(angle)) ** 2)) / 2).mean() / 2
    return float(np.log(2 * np.cosh(2 * coupling)) + integral)


def energy(coupling: float) -> float:
    """E/N = −∂(ln Z/N)/∂K of the infinite lattice at K > 0, K ≠ Kc: −coth 2K [1 + (2/π)(2 tanh² 2K − 1) 𝒦(κ)]."""
    kappa = 2 * np.sinh(2 * coupling) / np.cosh(2 * coupling) ** 2
    factor = 2 * np.tanh(2 * coupling) ** 2 - 1
    return float(-(1 + 2 / np.pi * factor * ellipk(kappa**2)) / np.tanh(2 * coupling))


def torus_log_partition(side: int, coupling: float) -> float:
    """Ln Z / N of the torus of ``side``² sites at K > 0, for even ``side`` (Kaufman, eq. 60).

    Z = ½ (2 sinh 2K)^(N/2) [Π 2cosh(Lγ/2) + Π 2sinh(Lγ/2) over odd r, the same over even r], where
    cosh γ_r = cosh² 2K / sinh 2K − cos(πr/L) and γ₀ = 2K + ln tanh K with its sign.
    """
    r = np.arange(2 * side)
    gamma = np.arccosh(np.maximum(1, np.cosh(2 * coupling) ** 2 / np.sinh(2 * coupling) - np.cos(np.pi * r / side)))
    gamma[0] = 2 * coupling + np.log(np.tanh(coupling))
    half = np.abs(gamma) * side / 2
    with np.errstate(divide="ignore"):  # at the critical point γ₀ and its product of sinh vanish
        cosh, sinh = half + np.log1p(np.exp(-2 * half)), half + np.log(-np.expm1(-2 * half))
    logs = [product[start::2].sum() for start in (1, 0) for product in (cosh, sinh)]
    most = max(logs)
    total = np.exp(np.array(logs) - most) @ [1, 1, 1, np.sign(gamma[0])]
    sites = side * side
    return float((np.log(total / 2) + most) / sites + np.log(2 * np.sinh(2 * coupling)) / 2)
