"""A user's model in NumPy: its value, and its gradient where there is one by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffprog.models import arrays, checking, loading
from diffprog.models.declaring import NO_GRADIENT, ModelConfig
from diffprog.spec import Array, Functions, Named

FILE = loading.FILES["numpy"]


def build(config: ModelConfig, method: str) -> Functions:
    """The functions of the model in a folder.

    Raises:
        Fault: with file, line and reason.
        NotImplementedError: from a gradient that is not written.
    """
    folder = Path(config.folder)
    made = loading.module(folder, FILE)
    loss = loading.function(made, "loss", folder, FILE)
    by_hand, shown = getattr(made, "gradient", None), getattr(made, "outputs", None)
    return functions(loss, by_hand, shown, config.shapes, folder, str(folder / FILE))


def functions(
    loss: Callable[..., Any],
    by_hand: Callable[..., Any] | None,
    shown: Callable[..., Any] | None,
    shapes: arrays.Shapes,
    folder: Path,
    where: str,
) -> Functions:
    """The functions of a loss, and of its gradient by hand; see `models.on_torch.functions`."""
    checking.signature(loss, where)
    names = arrays.pieces(shapes)

    def of(theta: Array) -> dict[str, Any]:
        return {name: theta[start:stop].reshape(shape) if shape else theta[start] for name, start, stop, shape in names}

    def value(theta: Array, data: Mapping[str, Array]) -> Any:
        return loss(of(theta), dict(data))

    def check(theta: Array, data: Mapping[str, Array]) -> None:
        before = checking.copies(theta, data, shapes)
        answer = checking.Guarded(value, folder, lambda error: "")(theta, data)
        checking.unchanged(before, checking.copies(theta, data, shapes), where)
        if not isinstance(answer, int | float | complex | np.generic | np.ndarray):
            raise loading.Fault(f"{where}: loss returns a {type(answer).__name__}; it must return one number")
        found = np.asarray(answer)
        found = narrowed(found, theta)
        checking.value(found, found.shape, found.dtype.kind, str(found.dtype), str(theta.dtype), where)

    def by_name(params: dict[str, Any], data: Mapping[str, Array]) -> Any:
        return loss(dict(params), dict(data))

    def slopes(params: dict[str, Any], data: Mapping[str, Array]) -> tuple[Any, Any]:
        if by_hand is None:
            raise NotImplementedError(NO_GRADIENT)
        found = by_hand(dict(params), dict(data))
        if not (isinstance(found, tuple) and len(found) == 2):
            raise loading.Fault(
                f"{where}: gradient must return the loss and a dict of gradients: `return value, slopes`"
            )
        return found

    def flat(found: Any) -> Array:
        return arrays.unnamed(found, shapes, f"{where}: gradient")

    def gradient(theta: Array, data: Mapping[str, Array]) -> tuple[Any, Array]:
        value, found = slopes(of(theta), data)
        return value, flat(found)

    def outputs(theta: Array, data: Mapping[str, Array]) -> dict[str, Any]:
        found = {} if shown is None else checking.outputs(shown(of(theta), dict(data)), where)
        return {name: narrowed(x, theta) for name, x in found.items()}

    return Functions(
        value,
        checking.Guarded(gradient, folder, lambda error: ""),
        checking.Guarded(outputs, folder, lambda error: ""),
        lambda theta, data: {"parameters": theta.size},
        made_with="hand",
        check=check,
        named=Named(of, by_name, checking.Guarded(slopes, folder, lambda error: ""), flat),
    )


def narrowed(found: Any, theta: Array) -> Array:
    """An array of θ's precision: among float32 an integer makes NumPy's numbers float64, as in no other framework."""
    array = np.asarray(found)
    return array.astype(theta.dtype) if array.dtype == np.float64 and theta.dtype == np.float32 else array
