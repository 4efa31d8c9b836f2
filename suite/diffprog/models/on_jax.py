"""A user's model in JAX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffprog.models import arrays, checking, loading
from diffprog.models.declaring import ModelConfig
from diffprog.spec import Functions, Named

FILE = loading.FILES["jax"]


def build(config: ModelConfig, method: str) -> Functions:
    """The functions of the model in a folder.

    Raises:
        Fault: with file, line and reason.
    """
    folder = Path(config.folder)
    made = loading.module(folder, FILE)
    where = str(folder / FILE)
    user = loading.function(made, "loss", folder, FILE)
    return functions(user, getattr(made, "outputs", None), config.shapes, folder, where)


def functions(
    user: Callable[..., Any], shown: Callable[..., Any] | None, shapes: arrays.Shapes, folder: Path, where: str
) -> Functions:
    """The functions of a loss; see `models.on_torch.functions`."""
    checking.signature(user, where)
    pieces = arrays.pieces(shapes)

    def of(theta: Any) -> dict[str, Any]:
        return {name: theta[start:stop].reshape(shape) for name, start, stop, shape in pieces}

    def loss(theta: Any, data: dict[str, Any]) -> Any:
        return user(of(theta), dict(data))

    def by_name(params: dict[str, Any], data: dict[str, Any]) -> Any:
        return user(dict(params), dict(data))

    def gradient(theta: Any, data: dict[str, Any]) -> tuple[Any, Any]:
        found, slopes = jax.value_and_grad(by_name)(of(theta), data)
        return found, jnp.concatenate([slopes[name].reshape(-1) for name, *_ in pieces])

    def outputs(theta: Any, data: dict[str, Any]) -> dict[str, Any]:
        return {} if shown is None else checking.outputs(shown(of(theta), dict(data)), where)

    return Functions(
        loss,
        gradient,
        checking.Guarded(outputs, folder, hint),
        lambda theta, data: {"parameters": theta.size},
        made_with="jit",
        loss=loss,
        named=Named(of, by_name),
        check=lambda theta, data: check(loss, theta, data, folder, where),
    )


def check(loss: Any, theta: Any, data: dict[str, Any], folder: Path, where: str) -> None:
    """Traces the loss, before anything is timed; nothing is compiled, which would spare the first call its time.

    Raises:
        Fault: if it is no differentiable number, or cannot be traced.
    """

    def asked() -> Any:
        return jax.eval_shape(loss, theta, data)

    found = checking.Guarded(asked, folder, hint)()
    if not hasattr(found, "shape"):
        raise loading.Fault(f"{where}: loss returns a {type(found).__name__}; it must return one number")
    dtype = np.dtype(found.dtype)
    checking.value(np.float64(0), found.shape, dtype.kind, str(dtype), str(np.dtype(theta.dtype)), where)


def hint(error: BaseException) -> str:
    """What may mend a common mistake."""
    kind = type(error).__name__
    if kind == "TracerArrayConversionError":
        return "NumPy cannot be used on parameters or data: use jax.numpy"
    if kind in ("ConcretizationTypeError", "TracerBoolConversionError", "TracerIntegerConversionError"):
        return "a traced value has no number: no float(), .item() or `if` on it; use jnp.where or jax.lax.cond"
    if "does not support item assignment" in str(error) or "JAX arrays are immutable" in str(error):
        return "JAX's arrays cannot be changed: use x.at[i].set(…)"
    if kind == "UnexpectedTracerError":
        return "a traced value was kept from one call to the next, in a global or an attribute: return it instead"
    return ""
