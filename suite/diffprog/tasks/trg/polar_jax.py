"""The SVD by a polar decomposition in JAX; see ``polar``."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from diffprog.tasks.trg import polar

product = partial(jnp.matmul, precision="highest")
"""In full float32, also in cells of TF32: a decomposition is none that may be rounded."""


def full_rank(order: int, dtype: jnp.dtype) -> Array:
    """(m, m), entries between ±1/√m, as if at random."""
    k = jnp.arange(order * order, dtype=jnp.uint32)
    for shift, multiplier in zip((16, 13), polar.MULTIPLIERS, strict=True):
        k = (k ^ (k >> shift)) * jnp.uint32(multiplier)
    k = (k ^ (k >> 16)) >> 8  # 24 bits: exact in float32
    return ((k.astype(dtype) / 2**23 - 1) / math.sqrt(order)).reshape(order, order)


def svd(matrices: Array) -> tuple[Array, Array, Array]:
    """U, s and Vᵀ of (n, m, m), not to be differentiated."""
    order, eps = matrices.shape[-1], float(jnp.finfo(matrices.dtype).eps)

    def step(a: float, b: float, _: Array, x: Array) -> Array:
        return a * x - b * product(x, product(x.mT, x))

    x = matrices / jnp.linalg.norm(matrices, axis=(-2, -1), keepdims=True) + eps * full_rank(order, matrices.dtype)
    grow = partial(step, polar.GROWTH, polar.GROWTH - polar.REACHED)
    x = jax.lax.fori_loop(0, polar.growing(order, eps), grow, x)
    x = jax.lax.fori_loop(0, polar.POLISH, partial(step, 1.5, 0.5), x)
    h = product(x.mT, matrices)
    v, s = jax.lax.linalg.eigh((h + h.mT) / 2, symmetrize_input=False)
    v = jnp.flip(v, axis=-1)
    return product(x, v), jnp.abs(jnp.flip(s, axis=-1)), v.mT
