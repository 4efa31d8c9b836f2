"""What goes into the way back, and directional derivatives by hand: L̇ = dL/dθ·v and d²L/dθ²·v.

``circuits.second`` has the circuit's part. With w = y where qubit n−1 is 0 and 1 − y where it is 1, ℓ = Σ w |ψ|²,
L = −mean ln ℓ, and for each of B samples

    ℓ̇ = 2 Σ w Re ψ*ψ̇,   L̇ = −mean ℓ̇/ℓ,   λ = −(w/ℓB) ∘ ψ,   λ̇ = −(w/ℓB) ∘ (ψ̇ − (ℓ̇/ℓ) ψ).
"""

from __future__ import annotations

from collections import deque

import numpy as np

from diffprog.circuits.second import Path, evolve, path_of, sweep_back
from diffprog.spec import Array, Arrays
from diffprog.tasks.classifier.problem import ClassifierConfig
from diffprog.tasks.classifier.samples import flat, halves, likelihood, rotating, start, table_of, unrotating, weights


def cotangent(states: Array, labels: Array, likely: Array) -> Array:
    """λ (B, 2ⁿ), for dL = 2 Re <λ|dψ>: the other label's half of the amplitudes does not count."""
    scale = -weights(labels) / (likely * len(labels))[:, None]
    return np.asarray(scale[:, :, None] * halves(states)).reshape(states.shape)


def rates(states: Array, tangents: Array, labels: Array) -> Array:
    """ℓ̇ (B,)."""
    changes = (states.conj() * tangents).real
    return np.asarray(2 * (weights(labels) * halves(changes).sum(axis=-1)).sum(axis=-1))


def along(config: ClassifierConfig, theta: Array, v: Array) -> Path:
    return path_of(*table_of(config, np.stack([theta, v])))


def jvp(config: ClassifierConfig, theta: Array, data: Arrays, v: Array) -> tuple[Array, Array]:
    """L and dL/dθ·v; no state is kept."""
    given = data[config.source]
    rotations, begun = rotating(config, given), start(config, given)
    ((states, tangents),) = deque(evolve(along(config, theta, v), data["permutation"], rotations, begun), maxlen=1)
    likely = likelihood(states, data["labels"])
    slopes = rates(states, tangents, data["labels"]) / likely
    return np.asarray(-np.log(likely).mean()), np.asarray(-slopes.mean())


def hvp(config: ClassifierConfig, theta: Array, data: Arrays, v: Array) -> tuple[Array, Array]:
    """L and d²L/dθ²·v (P,); ψ and ψ̇ of all layers are kept."""
    given, gather, labels, path = data[config.source], data["permutation"], data["labels"], along(config, theta, v)
    kept = list(evolve(path, gather, rotating(config, given), start(config, given)))
    states, tangents = kept[-1]
    likely = likelihood(states, labels)
    slopes = rates(states, tangents, labels) / likely
    bar = cotangent(states, labels, likely)
    bar_dot = cotangent(tangents, labels, likely) - slopes[:, None] * bar
    product = sweep_back(path, gather, kept, bar, bar_dot, unrotating(config, given))
    return np.asarray(-np.log(likely).mean()), flat(config, product)
