"""A Julia function as a differentiable PyTorch operation: four `autograd.Function`s, each one call to Julia.

``_Primal`` y = f(x), ``_Pushforward`` ẏ = J ẋ, ``_Pullback`` x̄ = Jᵀȳ, ``_Second`` S = d/dε J(x + εẋ)ᵀȳ: the derivatives
of each are made of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from diffprog.interop.route import Kept, Loaded
from diffprog.interop.wire import CODES
from diffprog.spec import Array


class TorchOp:
    """Tensors in, a tensor or a tuple of tensors out; made by `diffprog.interop.torch_op`.

    Differentiable in reverse mode (again through a retained graph, and twice: ``create_graph=True``) and forward mode,
    by ``torch.func``'s transforms and these over each other, as far as the Julia function has the rules. Inputs of an
    integer dtype are constants. ``vmap`` calls the function once for each sample. ``torch.compile`` calls it as it is.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded

    def __call__(self, *inputs: Any) -> Any:
        """f(x...).

        Raises:
            TypeError: if an argument is no tensor, or its dtype cannot cross.
            ValueError: for a tensor that is not in the host's memory.
            JuliaError: for an exception of the Julia code.
            BridgeError: if the bridge cannot do it.
        """
        return _apply(self.loaded, inputs)


@torch.compiler.disable  # it is called as it is
def _apply(loaded: Loaded, inputs: tuple[Any, ...]) -> Any:
    for tensor in inputs:
        _check(tensor)
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    *outputs, _ = _Primal.apply(loaded, keep, *inputs)
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _check(tensor: Any) -> None:
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"a Julia operation takes tensors, not {type(tensor).__name__}: torch.as_tensor makes one")
    if tensor.device.type != "cpu":
        raise ValueError(f"a Julia operation takes tensors of the host, not of {tensor.device}: .cpu() copies one")
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise ValueError(
            f"a Julia operation takes tensors with numbers in them, not {type(tensor).__name__}: it cannot be "
            "exported, and only torch.Tensor itself is known in Julia"
        )
    if tensor.is_nested or tensor.layout is not torch.strided:
        raise ValueError("a Julia operation takes dense tensors: .to_dense() makes one")


def _host(tensor: Any) -> Array | None:
    """The tensor's own memory as NumPy's; a copy where it is a lazy conjugate or negative."""
    if tensor is None:
        return None
    try:
        array: Array = tensor.detach().resolve_conj().resolve_neg().numpy()
    except TypeError:
        raise TypeError(
            f"a tensor of {tensor.dtype} cannot cross to Julia; these can: {', '.join(map(str, CODES))}"
        ) from None
    except RuntimeError as error:
        if "atching rule not implemented" in str(error):
            raise NotImplementedError(
                "a Julia operation knows torch.func.vmap alone, not the older one of is_grads_batched=True, "
                "vectorize=True and check_batched_grad=True: take torch.func.jacrev, jacfwd, hessian or vmap"
            ) from error
        raise
    return array


def _hosts(tensors: Sequence[Any]) -> list[Any]:
    for mode in _get_current_dispatch_mode_stack():
        if type(mode).__name__ in _TRACERS:
            raise NotImplementedError(
                "a Julia operation cannot be traced, by make_fx, torch.func.linearize or torch.export: its numbers "
                "would become constants. torch.func.jvp and vjp call it as it is, and so does torch.compile"
            )
    return [_host(tensor) for tensor in tensors]


_TRACERS = ("ProxyTorchDispatchMode", "FakeTensorMode", "FunctionalTensorMode")
"""What follows the operations on tensors to repeat them: what happens outside of PyTorch it does not see."""


def _tensor(array: Array | None) -> Any:
    """A tensor on the array's own memory."""
    return None if array is None else torch.from_numpy(np.asarray(array))


def _is_float(tensor: Any) -> bool:
    return bool(tensor.is_floating_point() or tensor.is_complex())


def _saved(ctx: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    """The inputs, and what else was saved with them. Read once: a checkpoint has them for one reading alone."""
    saved = ctx.saved_tensors
    return saved[: ctx.n], saved[ctx.n :]


class _Primal(torch.autograd.Function):  # type: ignore[misc]
    """(loaded, keep, *x) to (*y, kept)."""

    @staticmethod
    def forward(loaded: Loaded, keep: bool, *x: Any) -> Any:
        if not keep:
            return (*map(_tensor, loaded.primal(_hosts(x))), None)
        y, kept = loaded.forward(_hosts(x))
        return (*map(_tensor, y), kept)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.loaded, _, *x = inputs
        *y, ctx.kept = output
        ctx.n = len(x)
        # Saved also because PyTorch then notices if they are changed in place: Julia looks at this very memory.
        ctx.save_for_backward(*x, *y)
        ctx.save_for_forward(*x, *y)
        ctx.mark_non_differentiable(*(tensor for tensor in y if not _is_float(tensor)))

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        x, y = _saved(ctx)
        bars = [_full(bar, tensor) for bar, tensor in zip(cotangents[:-1], y, strict=True)]
        return None, None, *_Pullback.apply(ctx.loaded, ctx.kept, ctx.n, *x, *bars)

    @staticmethod
    def jvp(ctx: Any, _loaded: Any, _keep: Any, *dots: Any) -> Any:
        x, y = _saved(ctx)
        found = _Pushforward.apply(ctx.loaded, ctx.n, *x, *dots)
        return (*(dot if _is_float(like) else None for dot, like in zip(found, y, strict=True)), None)

    @staticmethod
    def vmap(info: Any, in_dims: Any, loaded: Loaded, keep: bool, *x: Any) -> Any:
        outputs, dims = _by_sample(info, in_dims[2:], x, lambda *x: _Primal.apply(loaded, keep, *x)[:-1])
        return (*outputs, None), (*dims, None)


class _Pushforward(torch.autograd.Function):  # type: ignore[misc]
    """(loaded, n, *x, *ẋ) to ẏ; ẋ is None where there is no tangent."""

    @staticmethod
    def forward(loaded: Loaded, n: int, *both: Any) -> Any:
        return tuple(map(_tensor, loaded.pushforward(_hosts(both[:n]), _hosts(both[n:]))))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.loaded, ctx.n, *both = inputs
        ctx.save_for_backward(*both)
        ctx.save_for_forward(*both)

    @staticmethod
    def backward(ctx: Any, *bars: Any) -> Any:
        x, dots = _saved(ctx)
        wanted = ctx.needs_input_grad[2:]
        of_x = _Second.apply(ctx.loaded, ctx.n, *x, *dots, *bars) if any(wanted[: ctx.n]) else [None] * ctx.n
        of_dots = _Pullback.apply(ctx.loaded, None, ctx.n, *x, *bars) if any(wanted[ctx.n :]) else [None] * ctx.n
        return None, None, *of_x, *of_dots

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        if any(dot is not None for dot in tangents[2 : 2 + ctx.n]):
            raise NotImplementedError("a Julia operation has no forward over forward mode: take forward over reverse")
        return _Pushforward.apply(ctx.loaded, ctx.n, *_saved(ctx)[0], *tangents[2 + ctx.n :])

    @staticmethod
    def vmap(info: Any, in_dims: Any, loaded: Loaded, n: int, *both: Any) -> Any:
        return _by_sample(info, in_dims[2:], both, lambda *both: _Pushforward.apply(loaded, n, *both))


class _Pullback(torch.autograd.Function):  # type: ignore[misc]
    """(loaded, kept, n, *x, *ȳ) to x̄; without a kept pullback, by one made for it."""

    @staticmethod
    def forward(loaded: Loaded, kept: Kept | None, n: int, *both: Any) -> Any:
        if kept is None:
            kept = loaded.forward(_hosts(both[:n]))[1]
        return tuple(map(_tensor, kept(_hosts(both[n:]))))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.loaded, ctx.kept, ctx.n, *both = inputs
        ctx.save_for_backward(*both)
        ctx.save_for_forward(*both)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *dots: Any) -> Any:
        """A cotangent of x̄ is a tangent of x: ȳ's is J ẋ, and that of x is S."""
        x, bars = _saved(ctx)
        wanted = ctx.needs_input_grad[3:]
        of_x = _Second.apply(ctx.loaded, ctx.n, *x, *dots, *bars) if any(wanted[: ctx.n]) else [None] * ctx.n
        of_bars = _Pushforward.apply(ctx.loaded, ctx.n, *x, *dots) if any(wanted[ctx.n :]) else [None] * len(bars)
        return None, None, None, *of_x, *of_bars

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        x, bars = _saved(ctx)
        dots, bar_dots = tangents[3 : 3 + ctx.n], tangents[3 + ctx.n :]
        total: Sequence[Any] = [None] * ctx.n
        if any(dot is not None for dot in dots):
            total = _Second.apply(ctx.loaded, ctx.n, *x, *dots, *bars)
        if any(dot is not None for dot in bar_dots):
            full = [_full(dot, bar) for dot, bar in zip(bar_dots, bars, strict=True)]
            more = _Pullback.apply(ctx.loaded, ctx.kept, ctx.n, *x, *full)
            total = [_sum(one, other) for one, other in zip(total, more, strict=True)]
        return tuple(total)

    @staticmethod
    def vmap(info: Any, in_dims: Any, loaded: Loaded, kept: Any, n: int, *both: Any) -> Any:
        if any(dim is not None for dim in in_dims[3 : 3 + n]):
            kept = None
        return _by_sample(info, in_dims[3:], both, lambda *both: _Pullback.apply(loaded, kept, n, *both))


_NO_THIRD = (
    "a Julia operation has no third derivatives (torch.autograd.functional.hvp asks for them: take its vhp, or "
    "torch.func.jvp of a gradient)"
)


class _Second(torch.autograd.Function):  # type: ignore[misc]
    """(loaded, n, *x, *ẋ, *ȳ) to S."""

    @staticmethod
    def forward(loaded: Loaded, n: int, *all_: Any) -> Any:
        found = loaded.second(_hosts(all_[:n]), _hosts(all_[n : 2 * n]), _hosts(all_[2 * n :]))
        return tuple(map(_tensor, found))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise NotImplementedError(_NO_THIRD)

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> Any:
        raise NotImplementedError(_NO_THIRD)

    @staticmethod
    def vmap(info: Any, in_dims: Any, loaded: Loaded, n: int, *all_: Any) -> Any:
        return _by_sample(info, in_dims[2:], all_, lambda *all_: _Second.apply(loaded, n, *all_))


def _by_sample(info: Any, dims: Sequence[Any], tensors: Sequence[Any], call: Callable[..., Any]) -> Any:
    """Each sample by itself, stacked, and the dimensions of that; derivatives from outside go through the samples."""
    outputs = [
        call(*(one if dim is None else one.select(dim, sample) for one, dim in zip(tensors, dims, strict=True)))
        for sample in range(info.batch_size)
    ]
    stacked = tuple(None if parts[0] is None else torch.stack(parts) for parts in zip(*outputs, strict=True))
    return stacked, tuple(None if part is None else 0 for part in stacked)


def _full(bar: Any, like: Any) -> Any:
    """The cotangent, or zeros where nothing depends on this result."""
    return torch.zeros_like(like) if bar is None else bar.to(like.dtype)


def _sum(one: Any, other: Any) -> Any:
    if one is None:
        return other
    return one if other is None else one + other
