"""Hψ without a matrix: every term moves or weighs amplitudes. States are (..., 2ⁿ), leading axes a batch.

`tfim`        H = ΣZ_iZ_{i+1} − ΣX_i = D − ΣX_i
`maxcut`      H = −Σ ½(1 − Z_iZ_j) = −D
`heisenberg`  H = Σ J (XX + YY + ZZ) = Σ J (2S − 1), where S exchanges the two qubits of a bond
"""

from __future__ import annotations

import numpy as np

from diffprog.circuits import tables
from diffprog.circuits.states import summed
from diffprog.spec import Array, Arrays
from diffprog.tasks.vqe.problem import VqeConfig


def exchange_shape(bond: tuple[int, int], size: int) -> tuple[int, ...]:
    """How 2ⁿ amplitudes are seen so that axes −2 and −4 are the two qubits of a bond."""
    low, high = sorted(bond)
    return size >> high + 1, 2, 1 << high - low - 1, 2, 1 << low


def flipped(qubits: int, state: Array) -> Array:
    """Σ_q X_q ψ."""
    kind = state.real.dtype
    return summed([tables.flips(len(group)).astype(kind) for group in tables.groups(qubits)], state)


def apply(config: VqeConfig, data: Arrays, state: Array) -> Array:
    """Hψ."""
    if config.variant == "maxcut":
        return -data["diagonal"] * state
    if config.variant == "tfim":
        return data["diagonal"] * state - flipped(config.qubits, state)
    total = -data["couplings"].sum() * state
    for bond, coupling in zip(data["bonds"].tolist(), data["couplings"], strict=True):
        shape = exchange_shape(bond, state.shape[-1])
        seen, into = state.reshape(*state.shape[:-1], *shape), total.reshape(*state.shape[:-1], *shape)
        into += 2 * coupling * seen.swapaxes(-2, -4)
    return np.asarray(total)


def expectation(state: Array, image: Array) -> Array:
    """Re ⟨ψ|Hψ⟩ of states and their images."""
    return np.asarray((state.real * image.real + state.imag * image.imag).sum(axis=-1))
