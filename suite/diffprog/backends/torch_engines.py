"""Operators by PyTorch's engines: eager autograd, CUDA graphs of it, ``torch.func``'s transforms, ``torch.compile``,
and what an expert writes by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from diffprog.backends import torch_cuda, torch_named
from diffprog.backends.base import Ask
from diffprog.engines import EXPERT, ONCE
from diffprog.errors import Unsupported
from diffprog.spec import Expert, Functions
from diffprog.tasks.torch_autograd import reverse

Function = Callable[..., Any]


def build(functions: Functions, ask: Ask) -> tuple[Function, Function]:
    """The value, of ``(θ, data)``, and the derivative, of ``(θ, data)`` or ``(θ, data, v)``.

    Of functions that are ``named``, θ and v are by name, and so are a gradient and an hvp.

    Raises:
        Unsupported: if the method is a rule of its own that this engine cannot replace, or the engine has no such form.
    """
    if ask.engine == EXPERT:
        return by_hand(functions, ask.operator)
    if ask.engine == "cudagraph":
        value, derivative = build(functions, replace(ask, engine="eager"))
        return torch_cuda.captured(torch, value), torch_cuda.captured(torch, derivative)
    operator, named = "gradient" if ask.operator == "value" else ask.operator, functions.named
    value, loss, by_rule = functions.value, functions.loss, getattr(functions, operator)
    if named is not None:
        value, loss, by_rule = torch_named.value(named.loss), named.loss, torch_named.EAGER[operator](named.loss)
    if ask.engine == "eager" and by_rule is not None:
        return value, by_rule
    if loss is None:
        raise Unsupported(
            f"{ask.operator}: this method is a rule of its own for gradients, with nothing to differentiate"
        )
    if ask.engine == "compile":
        backend = "inductor" if operator == "gradient" else forward_inductor
        plain: Function = torch.no_grad()(loss)
        return compiled(plain), compiled(_FUNC[operator](loss), backend)
    family = _EAGER if ask.engine == "eager" else _FUNC
    return value, family[operator](loss)


def by_hand(functions: Functions, operator: str) -> tuple[Function, Function]:
    """Value and gradient of a loss whose rule for autograd is the task's own; see `build`."""
    if functions.expert is None:
        raise Unsupported("no expert form of this task and method is written")
    if operator not in ("value", "gradient"):
        raise Unsupported(ONCE)
    expert = functions.expert

    def loss(theta: Any, data: Any) -> Any:
        return ByHand.apply(theta, data, expert)

    def value(theta: Any, data: Any) -> Any:
        with torch.inference_mode():
            found = expert.value(theta, data)
        return found.clone()  # an ordinary tensor

    return value, reverse(loss)


class ByHand(torch.autograd.Function):  # type: ignore[misc]  # mypy takes torch for Any
    """An expert's loss on autograd's tape. It is a number: its gradient is made by forward, at once, if one is due."""

    @staticmethod
    def forward(ctx: Any, theta: Any, data: Any, expert: Expert) -> Any:
        with torch.inference_mode():  # views and writes in place without autograd's bookkeeping
            if not ctx.needs_input_grad[0]:
                loss, theta_bar = expert.value(theta, data), None
            else:
                loss, theta_bar = expert.gradient(theta, data)
        if theta_bar is not None:
            ctx.save_for_backward(theta, theta_bar.clone())
        return loss.clone()  # ordinary tensors

    @staticmethod
    def backward(ctx: Any, loss_bar: Any) -> tuple[Any, None, None]:
        theta, theta_bar = ctx.saved_tensors
        again = torch.is_grad_enabled()  # as with create_graph
        return Once.apply(loss_bar, theta, theta_bar) if again else loss_bar * theta_bar, None, None


class Once(torch.autograd.Function):  # type: ignore[misc]
    """L̄ · dL/dθ, whose derivative is refused. PyTorch's ``once_differentiable`` would let a sum just lack this term."""

    @staticmethod
    def forward(ctx: Any, loss_bar: Any, theta: Any, theta_bar: Any) -> Any:
        return loss_bar * theta_bar

    @staticmethod
    def backward(ctx: Any, gradient_bar: Any) -> Any:
        raise RuntimeError(ONCE)


def compiled(function: Function, backend: Any = "inductor") -> Function:
    """One graph, transforms included: what is compiled cannot be differentiated forwards or twice any more."""
    found: Function = torch.compile(function, fullgraph=True, dynamic=False, backend=backend)
    return found


def forward_inductor(graph: Any, inputs: Any) -> Any:
    """Inductor for graphs with forward mode in them, around two faults that it has with them (PyTorch 2.13, CPU).

    The zeros of forward mode have no memory until they are used, but compiled kernels read and write it: they crash, or
    are wrong. Here such zeros are arrays. And kernels with vector instructions have been wrong in a few digits where
    the same graph was right without them (jvp of flow's density and of qcbm's gaussian): here loops are plain.
    """
    from torch._inductor.compile_fx import compile_fx
    from torch._inductor.decomposition import select_decomp_table

    def zeros(size: Any, *, dtype: Any = None, device: Any = None, **_: Any) -> Any:
        return torch.zeros(size, dtype=dtype, device=device)

    table = {**select_decomp_table(), torch.ops.aten._efficientzerotensor.default: zeros}
    return compile_fx(graph, inputs, config_patches={"cpp.simdlen": 1}, decompositions=table)


def eager_jvp(loss: Function) -> Function:
    """Forward mode: dual numbers."""

    def jvp(theta: Any, data: Any, direction: Any) -> tuple[Any, Any]:
        with torch.no_grad(), torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(theta, direction)
            value, tangent = torch.autograd.forward_ad.unpack_dual(loss(dual, data))
            return value, tangent

    return jvp


def eager_hvp(loss: Function) -> Function:
    """Reverse over reverse: the gradient of g·v."""

    def hvp(theta: Any, data: Any, direction: Any) -> tuple[Any, Any]:
        leaf = theta.detach().requires_grad_()
        value = loss(leaf, data)
        (theta_bar,) = torch.autograd.grad(value, leaf, create_graph=True)
        (found,) = torch.autograd.grad(theta_bar @ direction, leaf)
        return value.detach(), found

    return hvp


def func_gradient(loss: Function) -> Function:
    both = torch.func.grad_and_value(loss)

    def gradient(theta: Any, data: Any) -> tuple[Any, Any]:
        theta_bar, value = both(theta, data)
        return value, theta_bar

    return gradient


def func_jvp(loss: Function) -> Function:
    def jvp(theta: Any, data: Any, direction: Any) -> tuple[Any, Any]:
        found: tuple[Any, Any] = torch.func.jvp(lambda x: loss(x, data), (theta,), (direction,))
        return found

    return jvp


def func_hvp(loss: Function) -> Function:
    """Forward over reverse."""
    both = torch.func.grad_and_value(loss)

    def hvp(theta: Any, data: Any, direction: Any) -> tuple[Any, Any]:
        (_, value), (found, _) = torch.func.jvp(lambda x: both(x, data), (theta,), (direction,))
        return value, found

    return hvp


_EAGER: dict[str, Callable[[Function], Function]] = {"gradient": reverse, "jvp": eager_jvp, "hvp": eager_hvp}
_FUNC: dict[str, Callable[[Function], Function]] = {"gradient": func_gradient, "jvp": func_jvp, "hvp": func_hvp}
