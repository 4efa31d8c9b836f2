"""What PyTorch's tasks have in common: the gradient by eager autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Loss = Callable[[Any, Any], Any]
Gradient = Callable[[Any, Any], tuple[Any, Any]]


def reverse(loss: Loss) -> Gradient:
    """Value and gradient of a loss of ``(theta, data)``, θ a tensor (P,), by reverse mode."""

    def gradient(theta: Any, data: Any) -> tuple[Any, Any]:
        leaf = theta.detach().requires_grad_()
        value = loss(leaf, data)
        (theta_bar,) = torch.autograd.grad(value, leaf)
        return value.detach(), theta_bar

    return gradient
