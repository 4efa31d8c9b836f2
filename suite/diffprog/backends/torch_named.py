"""PyTorch's eager autograd for a model of several parameters, each differentiated by itself as its author would do it.

Functions of ``(params, data)`` or ``(params, data, v)``, v by name, too. A gradient and an hvp come by name; None is
that of a parameter on which the loss does not depend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad

from diffprog.backends.base import Ask

Function = Callable[..., Any]
Params = dict[str, Any]


def value(loss: Function) -> Function:
    def alone(params: Params, data: Any) -> Any:
        with torch.no_grad():  # half the price of it as a decorator
            return loss(params, data)

    return alone


def leaves(params: Params, ask: Ask) -> Params:
    """The parameters as they are before a call of an engine: where it is autograd's, they are its leaves already."""
    if ask.operator == "jvp" or ask.engine not in ("eager", "cudagraph"):
        return params
    return {name: x.detach().requires_grad_() for name, x in params.items()}


def filled(derivative: Any, params: Params) -> Any:
    """A derivative by name with zeros where there is None."""
    if not isinstance(derivative, dict):
        return derivative
    return {name: torch.zeros_like(params[name]) if x is None else x for name, x in derivative.items()}


def gradient(loss: Function) -> Function:
    def both(params: Params, data: Any) -> tuple[Any, Params]:
        value = loss(params, data)
        slopes = torch.autograd.grad(value, tuple(params.values()), allow_unused=True)
        return value.detach(), dict(zip(params, slopes, strict=True))

    return both


def jvp(loss: Function) -> Function:
    """Forward mode: dual numbers."""

    def both(params: Params, data: Any, direction: Params) -> tuple[Any, Any]:
        with torch.no_grad(), forward_ad.dual_level():
            duals = {name: forward_ad.make_dual(x, direction[name]) for name, x in params.items()}
            value, tangent = forward_ad.unpack_dual(loss(duals, data))
            return value, tangent

    return both


def hvp(loss: Function) -> Function:
    """Reverse over reverse: the gradient of g·v."""

    def both(params: Params, data: Any, direction: Params) -> tuple[Any, Params]:
        wanted = tuple(params.values())
        value = loss(params, data)
        slopes = torch.autograd.grad(value, wanted, create_graph=True, materialize_grads=True)
        along = sum((slope * direction[name]).sum() for name, slope in zip(params, slopes, strict=True))
        if not along.requires_grad:  # a loss that is linear
            return value.detach(), {name: torch.zeros_like(x) for name, x in params.items()}
        found = torch.autograd.grad(along, wanted, materialize_grads=True)
        return value.detach(), dict(zip(params, found, strict=True))

    return both


EAGER: dict[str, Callable[[Function], Function]] = {"gradient": gradient, "jvp": jvp, "hvp": hvp}
