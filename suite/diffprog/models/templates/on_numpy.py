"""The model in NumPy. NumPy differentiates nothing: this loss is compared by its value.

A gradient by hand, if you have one, takes part too: gradient(params, data) returns the loss, and a dict with an array
for each parameter.
"""

import numpy as np


def logits(params, data):
    """Of shape (wines, kinds)."""
    H = np.tanh(data["X"] @ params["W"] + params["b"])
    return H @ params["V"] + params["c"]


def loss(params, data):
    """One real number: the mean cross entropy, and a penalty on the weights."""
    Z = logits(params, data)
    top = Z.max(axis=1, keepdims=True)
    log_sums = top[:, 0] + np.log(np.exp(Z - top).sum(axis=1))
    right = Z[np.arange(len(Z)), data["y"]]
    penalty = data["decay"] / 2 * ((params["W"] ** 2).sum() + (params["V"] ** 2).sum())
    return (log_sums - right).mean() + penalty


def outputs(params, data):
    """What else is compared between the backends; may be left out."""
    Z = logits(params, data)
    odds = np.exp(Z - Z.max(axis=1, keepdims=True))
    return {"probabilities": odds / odds.sum(axis=1, keepdims=True)}
