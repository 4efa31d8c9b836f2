"""The discriminator of ``adversarial`` and what it makes of a distribution, with first and second derivatives by hand.

It tells data from what the circuit makes: D(x) = σ(s(x)), s = W2·tanh(W1 x + b1) + b2 of the bits x as ±1. The loss

    L = Σ_x π(x) ln D(x) + Σ_x p(x) ln(1 − D(x)),    ln D = −ln(1 + e⁻ˢ),   ln(1 − D) = −ln(1 + eˢ),

is linear in p, with ∂L/∂p = ln(1 − D) =: q, and ∂L/∂s = π (1 − D) − p D =: r. Along a direction, with D′ = D (1 − D),

    L̇ = q·ṗ + r·ṡ,    q̇ = −D ṡ,    ṙ = −(π + p) D′ ṡ − D ṗ,

where q̇ and the last term are the cross terms: a mixed derivative of p and of the weights.

Sources: Zeng, Wu, Liu, Wang, Hu, arXiv:1808.03425 (the game of a circuit and a discriminator); Goodfellow et al.,
arXiv:1406.2661 (its value as two expectations).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, log_expit

from diffprog.spec import Array, Arrays
from diffprog.tasks.qcbm.problem import QcbmConfig


class Weights(NamedTuple):
    """W1 (h, n), b1 (h,), W2 (h,) and b2 (1,), or what belongs to them: a direction, a cotangent."""

    w1: Array
    b1: Array
    w2: Array
    b2: Array


def cut(config: QcbmConfig, flat: Array) -> Weights:
    """The blocks of the weights (P − A,), all but the angles of θ, as views."""
    hidden, n = config.hidden, config.qubits
    w1, b1, w2, b2 = np.split(flat, np.cumsum([hidden * n, hidden, hidden]))
    return Weights(w1.reshape(hidden, n), b1, w2, b2)


def joined(weights: Weights) -> Array:
    return np.concatenate([part.ravel() for part in weights])


def activations(weights: Weights, spins: Array) -> Array:
    """Hidden units h (2ⁿ, hidden), from the bits (2ⁿ, n)."""
    return np.asarray(np.tanh(spins @ weights.w1.T + weights.b1))


def logits(weights: Weights, hidden: Array) -> Array:
    """The s (2ⁿ,) of D = σ(s)."""
    return np.asarray(hidden @ weights.w2 + weights.b2)


def payoff(s: Array, p: Array, target: Array) -> tuple[Array, Array]:
    """L and q = ln(1 − D)."""
    q = log_expit(-s)
    return target @ log_expit(s) + p @ q, q


def pulled_back(weights: Weights, spins: Array, hidden: Array, r: Array) -> Weights:
    """The cotangents of the weights, from that of the logits."""
    z_bar = np.outer(r, weights.w2) * (1 - hidden**2)
    return Weights(z_bar.T @ spins, z_bar.sum(axis=0), hidden.T @ r, r.sum(keepdims=True))


def gradient(config: QcbmConfig, flat: Array, p: Array, data: Arrays) -> tuple[Array, Array, Array]:
    """L, ∂L/∂p = q (2ⁿ,), and ∂L/∂weights (P − A,)."""
    weights, spins, target = cut(config, flat), data["spins"], data["target"]
    hidden = activations(weights, spins)
    s = logits(weights, hidden)
    loss, q = payoff(s, p, target)
    r = target * expit(-s) - p * expit(s)
    return loss, q, joined(pulled_back(weights, spins, hidden, r))


class Tangents(NamedTuple):
    """What `tangents` finds: of the loss, of q (2ⁿ,) and of the gradient by the weights (P − A,)."""

    loss: Array
    q: Array
    weights: Array


def tangents(config: QcbmConfig, flat: Array, flat_dot: Array, p: Array, p_dot: Array, data: Arrays) -> Tangents:
    """Along weights + t ``flat_dot`` and p + t ``p_dot``."""
    weights, along, spins = cut(config, flat), cut(config, flat_dot), data["spins"]
    hidden = activations(weights, spins)
    slope = 1 - hidden**2
    hidden_dot = slope * (spins @ along.w1.T + along.b1)
    s, s_dot = logits(weights, hidden), hidden @ along.w2 + hidden_dot @ weights.w2 + along.b2
    real, fake = expit(s), expit(-s)  # D and 1 − D
    r, q = data["target"] * fake - p * real, log_expit(-s)
    r_dot = -(data["target"] + p) * real * fake * s_dot - real * p_dot
    # z̄ = r W2 ∘ (1 − h²), differentiated once.
    turned = np.outer(r_dot, weights.w2) + np.outer(r, along.w2)
    z_bar_dot = turned * slope - 2 * np.outer(r, weights.w2) * hidden * hidden_dot
    changed = Weights(
        z_bar_dot.T @ spins, z_bar_dot.sum(axis=0), hidden_dot.T @ r + hidden.T @ r_dot, r_dot.sum(keepdims=True)
    )
    return Tangents(q @ p_dot + r @ s_dot, -real * s_dot, joined(changed))
