"""The circuit that each sample passes through, in JAX; shapes as in ``samples``: a batch of states is (B, 2ⁿ)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from diffprog.circuits import tables
from diffprog.circuits.states_jax import (
    Matrices,
    Rotate,
    angle_table,
    evolve,
    layers_of,
    merge,
    probabilities,
    rotate,
    rotate_alike,
    sweep_back,
    unitaries,
    zeros,
)
from diffprog.tasks.classifier.problem import ClassifierConfig


def encoding(config: ClassifierConfig, points: Array) -> Matrices:
    """Rz(x₂) Rx(x₁) on every qubit, from points (B, 2) in radians: one matrix (B, 2ᵏ, 2ᵏ) for either half of n = 2k."""
    half = config.qubits // 2
    one = unitaries(jnp.pad(points, ((0, 0), (1, 0))))
    matrix = merge(jnp.broadcast_to(one[:, None], (len(points), half, 2, 2)), range(half))
    return [matrix, matrix]


def table_of(config: ClassifierConfig, theta: Array) -> Array:
    """θ (P,) as angles (d+1, n, 3)."""
    if config.uploads_images:
        return angle_table(config.qubits, config.depth, theta)
    return theta.reshape(config.depth + 1, config.qubits, 3)


def start(config: ClassifierConfig, samples: Array) -> Array:
    """The states (B, 2ⁿ) before the first layer: the images, or |0…0>."""
    kind = jnp.result_type(samples, jnp.complex64)
    if config.uploads_images:
        return samples.astype(kind)
    return zeros((len(samples), 1 << config.qubits), jnp.empty(0, kind))


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
    undo = [matrix.mT.conj() for matrix in encoding(config, samples)]
    return lambda adjoints, states: rotate(undo, rotate_alike(adjoints, states))


def final(config: ClassifierConfig, theta: Array, samples: Array, gather: Array) -> Array:
    """The states (B, 2ⁿ) after the circuit."""
    layers = layers_of(table_of(config, theta))
    return evolve(layers, gather, rotating(config, samples), start=start(config, samples))


def swept(config: ClassifierConfig, theta: Array, samples: Array, gather: Array, pair: Array) -> Array:
    """dL/dθ (P,) from the pair (ψ, λ) of shape (2, B, 2ⁿ), by un-applying the circuit."""
    table = table_of(config, theta)
    slopes = sweep_back(table, layers_of(table), gather, pair, unrotating(config, samples)).ravel()
    return slopes[tables.angle_slots(config.qubits, config.depth)] if config.uploads_images else slopes


def halves(states: Array) -> Array:
    """(B, 2ⁿ) as (B, 2, 2ⁿ⁻¹): qubit n−1 being 0, and being 1."""
    return states.reshape(len(states), 2, -1)


def chances(states: Array) -> Array:
    """What p and 1 − p are, each a sum of squares: (B, 2)."""
    return probabilities(halves(states)).sum(axis=-1)


def weights(labels: Array) -> Array:
    """What y and 1 − y are: (B, 2)."""
    return jnp.stack([labels, 1 - labels], axis=-1)


def likelihood(states: Array, labels: Array) -> Array:
    """The probability ℓ of each sample's label, p or 1 − p: (B,)."""
    return (weights(labels) * chances(states)).sum(axis=-1)
