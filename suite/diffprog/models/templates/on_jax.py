"""The model in JAX."""

import jax
import jax.numpy as jnp


def logits(params, data):
    """Of shape (wines, kinds)."""
    H = jnp.tanh(data["X"] @ params["W"] + params["b"])
    return H @ params["V"] + params["c"]


def loss(params, data):
    """One real number: the mean cross entropy, and a penalty on the weights.

    It is traced and compiled by jax.jit: no NumPy, float() or .item() on parameters and data, and no `if` on their
    values.
    """
    Z = logits(params, data)
    right = Z[jnp.arange(len(Z)), data["y"]]
    penalty = data["decay"] / 2 * ((params["W"] ** 2).sum() + (params["V"] ** 2).sum())
    return (jax.nn.logsumexp(Z, axis=1) - right).mean() + penalty


def outputs(params, data):
    """What else is compared between the backends; may be left out."""
    return {"probabilities": jax.nn.softmax(logits(params, data), axis=1)}
