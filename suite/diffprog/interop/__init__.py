"""Julia functions as differentiable PyTorch and JAX operations. ``docs/interop.md`` is the page to read.

Example:
    >>> softplus = torch_op("x -> log1p.(exp.(x))")
    >>> softplus(torch.randn(3, requires_grad=True)).sum().backward()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from diffprog.interop.errors import BridgeError, JuliaError, JuliaInterrupted
from diffprog.interop.function import JuliaFunction
from diffprog.interop.route import Loaded, Route

if TYPE_CHECKING:
    from diffprog.interop.on_jax import JaxOp
    from diffprog.interop.on_torch import TorchOp

__all__ = [
    "BridgeError",
    "JuliaError",
    "JuliaFunction",
    "JuliaInterrupted",
    "Loaded",
    "Route",
    "jax_op",
    "route",
    "task_function",
    "torch_op",
]


def route(name: str = "worker", *, thread: str = "main") -> Route:
    """A way to Julia, the same for all that ask for it.

    Args:
        name: "worker": a process of its own; nothing of Julia is loaded into this one, whatever else is. "in_process":
            juliacall in this process; nothing is copied.
        thread: of "in_process": which thread Julia answers to, "main" or "own"; see
            `diffprog.interop.in_process.start`.

    Raises:
        BridgeError: if there is no Julia, with the way to one; or it cannot be had in this way.
        ValueError: for an unknown name.
    """
    if name not in ("worker", "in_process") or thread not in ("main", "own"):
        raise ValueError(f"there is no route {name!r} by thread {thread!r}: worker, or in_process by main or own")
    if name == "in_process":
        from diffprog.interop import in_process

        return in_process.attach(thread)
    from diffprog.interop import worker

    return worker.shared()


def _loaded(function: JuliaFunction | str, by: Route | str, thread: str) -> Loaded:
    way = by if isinstance(by, Route) else route(by, thread=thread)
    return way.load(JuliaFunction(function) if isinstance(function, str) else function)


def torch_op(function: JuliaFunction | str, *, route: Route | str = "worker") -> TorchOp:
    """A Julia function as a differentiable PyTorch operation.

    Args:
        function: what to call, or its Julia source.
        route: "worker" (safe), "in_process" (fast), or a `Route` of your own.

    Raises:
        BridgeError: if there is no Julia, with the way to one.
        JuliaError: if the source is wrong.
    """
    from diffprog.interop.on_torch import TorchOp

    return TorchOp(_loaded(function, route, "main"))


def jax_op(
    function: JuliaFunction | str,
    *,
    route: Route | str = "worker",
    result: Callable[..., Any] | Sequence[Any] | Any = None,
    keep: int = 1024,
) -> JaxOp:
    """A Julia function as a differentiable JAX operation.

    Args:
        function: what to call, or its Julia source.
        route: "worker" (safe), "in_process" (fast; Julia is given a thread of its own, since XLA calls from its
            threads), or a `Route` of your own.
        result: a ``jax.ShapeDtypeStruct`` or a tuple of them, or a function that makes it of the inputs' ones. Left
            out, the function is called once on ones for each new set of input shapes, to see.
        keep: how many pullbacks may wait for their backward pass. JAX does not say when it drops a graph: the oldest
            beyond this many are freed, and computed again should they be asked for.

    Raises:
        BridgeError: if there is no Julia, with the way to one.
        JuliaError: if the source is wrong.
    """
    from diffprog.interop.on_jax import JaxOp

    return JaxOp(_loaded(function, route, "own"), result, keep)


def task_function(
    task: str, variant: str | None = None, size: str = "tiny", method: str | None = None, seed: int = 0
) -> JuliaFunction:
    """A task of the suite as a function of θ (P,), its loss: with its own gradient, jvp and hvp.

    Raises:
        UsageError: for an unknown task, variant, size or method.
    """
    from diffprog.interop.tasks import task_function

    return task_function(task, variant, size, method, seed)
