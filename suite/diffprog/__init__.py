"""A benchmark suite for differentiable scientific programming across NumPy, PyTorch, JAX and Julia.

Importing it imports nothing else: what stands in ``__all__`` is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from diffprog.version import __version__

if TYPE_CHECKING:
    from diffprog.errors import UsageError
    from diffprog.gradients.check import check_gradients
    from diffprog.gradients.result import GradientCheck, GradientMismatch
    from diffprog.interop import JuliaFunction, jax_op, torch_op

__all__ = [
    "GradientCheck",
    "GradientMismatch",
    "JuliaFunction",
    "UsageError",
    "__version__",
    "check_gradients",
    "jax_op",
    "torch_op",
]

_HOMES = {
    "GradientCheck": "diffprog.gradients.result",
    "GradientMismatch": "diffprog.gradients.result",
    "JuliaFunction": "diffprog.interop",
    "UsageError": "diffprog.errors",
    "check_gradients": "diffprog.gradients.check",
    "jax_op": "diffprog.interop",
    "torch_op": "diffprog.interop",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
