"""PyTorch's engines for a model of several parameters, each differentiated by itself as its author would do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad

from diffprog.backends import torch_cuda, torch_engines
from diffprog.backends.base import Ask
from diffprog.engines import EXPERT
from diffprog.errors import Unsupported
from diffprog.spec import Named

Function = Callable[..., Any]
Params = dict[str, Any]


def build(named: Named, ask: Ask) -> tuple[Function, Function]:
    """The value, of ``(params, data)``, and the derivative, of that or of ``(params, data, v)`` with v by name, too.

    A gradient and an hvp come by name.

    Raises:
        Unsupported: if the engine has no such form.
    """
    value: Function = torch.no_grad()(named.loss)
    operator = "gradient" if ask.operator == "value" else ask.operator
    if ask.engine == EXPERT:
        raise Unsupported("no expert form of this task and method is written")
    if ask.engine == "compile":
        return torch_engines.compile_of(named.loss, operator)
    if ask.engine == "func":
        return value, torch_engines.FUNC[operator](named.loss)
    derivative = EAGER[operator](named.loss)
    if ask.engine == "cudagraph":
        return torch_cuda.captured(torch, value), torch_cuda.captured(torch, derivative)
    return value, derivative


def leaves(params: Params, ask: Ask) -> Params:
    """The parameters as they are before a call of an engine: where it is autograd's, they are its leaves already."""
    if ask.operator == "jvp" or ask.engine not in ("eager", "cudagraph"):
        return params
    return {name: x.detach().requires_grad_() for name, x in params.items()}


def gradient(loss: Function) -> Function:
    def both(params: Params, data: Any) -> tuple[Any, Params]:
        value = loss(params, data)
        slopes = torch.autograd.grad(value, tuple(params.values()), materialize_grads=True)
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
