"""The reference: NumPy, with every derivative written by hand.

A batch of n tensors is (n, D, D, D, D) with legs up, left, down, right; matrices and factors carry the batch in front.

Sources: Levin, Nave, cond-mat/0611687 (the algorithm); Liao, Liu, Wang, Xiang, arXiv:1903.09650, section III (reverse
mode through it); Townsend, "Differentiating the singular value decomposition", 2016 (the rule, see ``split_vjp``).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from diffprog.spec import Array, Arrays, Functions
from diffprog.tasks.trg import lattice, second
from diffprog.tasks.trg.network import (
    coarse_grain,
    contract,
    corners_vjp,
    initial,
    initial_vjp,
    pairs,
    pairs_vjp,
    split,
    split_vjp,
    to_matrices_vjp,
)
from diffprog.tasks.trg.problem import TrgConfig


def build(config: TrgConfig, method: str) -> Functions:
    """The task's functions on NumPy arrays; data are the arrays of ``problem.draw`` without ``params``."""
    plan = lattice.steps(config.side, config.chi, config.iterations)

    def value(theta: Array, data: Arrays) -> Any:
        return coarse_grain(plan, initial(theta[data["bonds"]]), data)[0]

    def reverse(theta: Array, data: Arrays) -> tuple[Any, Array, Array]:
        """The value, its gradient, and the singular values of the last step's first matrix."""
        couplings = theta[data["bonds"]]
        spins = initial(couplings)
        loss, trace, tapes = coarse_grain(plan, spins, data)
        i = np.arange(plan[-1].keep)
        t_bar = np.zeros((1, *[len(i)] * 4), theta.dtype)
        t_bar[:, i[:, None], i, i[:, None], i] = data["weights"][-1] / trace
        spectrum = tapes[-1][3][1][0]
        while tapes:
            step, scale, table, factors, s = tapes.pop()
            p, q = pairs(s, contract)  # cheaper to compute again than to keep
            cotangents = pairs_vjp(
                s, contract("nuldr,nwydr->nulwy", t_bar, q), contract("nulwy,nuldr->nwydr", p, t_bar)
            )
            m_bar = split_vjp(factors, *corners_vjp(cotangents, table, step))
            t_bar = to_matrices_vjp(m_bar, step) / scale  # ln Z does not depend on the scale
        gradient = np.zeros_like(theta)
        np.add.at(gradient, data["bonds"], initial_vjp(couplings, spins, t_bar))
        return loss, gradient, spectrum

    def gradient(theta: Array, data: Arrays) -> tuple[Any, Array]:
        return reverse(theta, data)[:2]

    def outputs(theta: Array, data: Arrays) -> Arrays:
        loss, slope, spectrum = reverse(theta, data)
        kept = spectrum[: plan[-1].keep]
        return {
            "free_energy": np.asarray(-loss),
            "energy": np.asarray(-slope.sum()),
            "correlations": slope * theta.dtype.type(config.sites_per_bond),
            "spectrum": kept / kept[0],
        }

    def work(theta: Array, data: Arrays) -> dict[str, int]:
        tally = lattice.Tally()
        spins = initial(theta[data["bonds"]])
        coarse_grain(plan, spins, data, split=tally.splitting(split), contract=tally.contracting(contract))
        return tally.work(theta.size)

    jvp, hvp = partial(second.jvp, plan), partial(second.hvp, plan)
    return Functions(value, gradient, outputs, work, made_with="hand", jvp=jvp, hvp=hvp)
