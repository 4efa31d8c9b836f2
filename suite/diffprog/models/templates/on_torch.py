"""The model in PyTorch."""

import torch


def logits(params, data):
    """Of shape (wines, kinds)."""
    H = torch.tanh(data["X"] @ params["W"] + params["b"])
    return H @ params["V"] + params["c"]


def loss(params, data):
    """One real number: the mean cross entropy, and a penalty on the weights.

    Written as for autograd: no .item(), .detach() or NumPy on what depends on the parameters, and nothing changed in
    place that came in. A tensor made here takes its dtype from a parameter: torch.zeros(3, dtype=params["c"].dtype).
    """
    penalty = data["decay"] / 2 * ((params["W"] ** 2).sum() + (params["V"] ** 2).sum())
    return torch.nn.functional.cross_entropy(logits(params, data), data["y"]) + penalty


def outputs(params, data):
    """What else is compared between the backends; may be left out."""
    return {"probabilities": torch.softmax(logits(params, data), dim=1)}
