"""The circuit that each sample passes through, in NumPy: where it starts, what encodes it, and how it is judged.

A batch of states is (B, 2ⁿ). Gates with trainable angles are the same for all of them; encodings are each sample's own.
"""

from __future__ import annotations

import numpy as np

from diffprog.circuits import tables
from diffprog.circuits.states import (
    Matrices,
    Rotate,
    adjoint_of,
    angle_table,
    merge,
    probabilities,
    rotate,
    rotate_alike,
    unitaries,
    zeros,
)
from diffprog.spec import Array
from diffprog.tasks.classifier.problem import ClassifierConfig


def encoding(config: ClassifierConfig, points: Array) -> Matrices:
    """Rz(x₂) Rx(x₁) on every qubit, from points (B, 2) in radians: one matrix (B, 2ᵏ, 2ᵏ) for either half of n = 2k."""
    half = config.qubits // 2
    angles = np.stack([np.zeros_like(points[:, 0]), points[:, 0], points[:, 1]], axis=-1)
    alike = np.broadcast_to(unitaries(angles)[:, None], (len(points), half, 2, 2))
    matrix = merge(alike, range(half))
    return [matrix, matrix]


def table_of(config: ClassifierConfig, theta: Array) -> Array:
    """θ (..., P) as angles (..., d+1, n, 3)."""
    if config.uploads_images:
        return angle_table(config.qubits, config.depth, theta)
    return theta.reshape(*theta.shape[:-1], config.depth + 1, config.qubits, 3)


def flat(config: ClassifierConfig, table: Array) -> Array:
    """What ``table_of`` does, undone: (d+1, n, 3) to (P,)."""
    found = table.ravel()
    return found[tables.angle_slots(config.qubits, config.depth)] if config.uploads_images else found


def start(config: ClassifierConfig, samples: Array) -> Array:
    """The states (B, 2ⁿ) before the first layer: the images, or |0…0>."""
    if config.uploads_images:
        return samples.astype(np.result_type(samples, np.complex64))
    like = np.empty(0, np.result_type(samples, np.complex64))
    return zeros((len(samples), 1 << config.qubits), like)


def rotating(config: ClassifierConfig, samples: Array, encode: Rotate = rotate) -> Rotate:
    """A layer's rotations on states (..., B, 2ⁿ): the encodings, if there are such, and then the trainable ones."""
    if config.uploads_images:
        return rotate_alike
    own = encoding(config, samples)
    return lambda matrices, states: rotate_alike(matrices, encode(own, states))


def unrotating(config: ClassifierConfig, samples: Array) -> Rotate:
    """Undoes ``rotating``, given the adjoints of a layer's matrices."""
    if config.uploads_images:
        return rotate_alike
    undo = adjoint_of(encoding(config, samples))
    return lambda adjoints, states: rotate(undo, rotate_alike(adjoints, states))


def halves(states: Array) -> Array:
    """(..., B, 2ⁿ) as (..., B, 2, 2ⁿ⁻¹): qubit n−1 being 0, and being 1."""
    return states.reshape(*states.shape[:-1], 2, -1)


def chances(states: Array) -> Array:
    """What p and 1 − p are, each a sum of squares: (..., B, 2)."""
    return np.asarray(probabilities(halves(states)).sum(axis=-1))


def weights(labels: Array) -> Array:
    """What y and 1 − y are: (B, 2)."""
    return np.stack([labels, 1 - labels], axis=-1)


def likelihood(states: Array, labels: Array) -> Array:
    """The probability ℓ of each sample's label, p or 1 − p: (..., B)."""
    return np.asarray((weights(labels) * chances(states)).sum(axis=-1))
