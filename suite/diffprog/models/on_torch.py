"""A user's model in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffprog.models import arrays, checking, loading
from diffprog.models.declaring import ModelConfig
from diffprog.spec import Functions, Named

FILE = loading.FILES["torch"]


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
    """The functions of a loss.

    Args:
        user: loss(params, data).
        shown: outputs(params, data), if there is one.
        shapes: of the parameters.
        folder: where the user's code lies.
        where: what it is called in sentences.

    Raises:
        Fault: if it cannot be called with params and data.
    """
    checking.signature(user, where)
    pieces = arrays.pieces(shapes)

    def of(theta: Any) -> dict[str, Any]:
        return {name: theta[start:stop].reshape(shape) for name, start, stop, shape in pieces}

    def loss(theta: Any, data: dict[str, Any]) -> Any:
        return user(of(theta), dict(data))

    def by_name(params: dict[str, Any], data: dict[str, Any]) -> Any:
        return user(dict(params), dict(data))

    def gradient(theta: Any, data: dict[str, Any]) -> tuple[Any, Any]:
        leaves = {name: leaf.requires_grad_() for name, leaf in of(theta.detach()).items()}
        found = user(dict(leaves), dict(data))  # a loss may put others in their places
        slopes = torch.autograd.grad(found, tuple(leaves.values()), materialize_grads=True)
        return found.detach(), torch.cat([slope.reshape(-1) for slope in slopes])

    def outputs(theta: Any, data: dict[str, Any]) -> dict[str, Any]:
        with torch.no_grad():
            found = {} if shown is None else checking.outputs(shown(of(theta), dict(data)), where)
        return {
            name: torch.as_tensor(x, dtype=theta.dtype if isinstance(x, float) else None).detach()
            for name, x in found.items()
        }

    return Functions(
        torch.no_grad()(loss),
        gradient,
        checking.Guarded(outputs, folder, hint),
        lambda theta, data: {"parameters": theta.numel()},
        made_with="eager",
        loss=loss,
        named=Named(of, by_name),
        check=lambda theta, data: check(loss, theta, data, shapes, folder, where),
    )


def check(loss: Any, theta: Any, data: dict[str, Any], shapes: arrays.Shapes, folder: Path, where: str) -> None:
    """Asks the loss once, before anything is timed.

    Raises:
        Fault: if it is no differentiable number, or changes its inputs.
    """
    leaf = theta.detach().clone().requires_grad_()

    def inputs() -> dict[str, Any]:
        host = {name: x.cpu().numpy() for name, x in data.items()}
        return checking.copies(leaf.detach().cpu().numpy(), host, shapes)

    def asked() -> Any:
        return loss(leaf, data)

    before = inputs()
    found = checking.Guarded(asked, folder, hint)()
    if not isinstance(found, torch.Tensor):
        cut = isinstance(found, float | np.number | np.ndarray)
        why = "; .item(), float() or NumPy cuts it off from its parameters" if cut else ""
        raise loading.Fault(
            f"{where}: loss returns a {type(found).__name__}; it must return a tensor with one number{why}"
        )
    checking.unchanged(before, inputs(), where)
    number = found.detach().cpu().numpy()
    checking.value(number, number.shape, number.dtype.kind, str(number.dtype), str(theta.cpu().numpy().dtype), where)
    if not found.requires_grad:
        raise loading.Fault(
            f"{where}: loss does not depend on its parameters as autograd sees it: .detach(), .item() or NumPy cuts it "
            "off"
        )


def hint(error: BaseException) -> str:
    """What may mend a common mistake."""
    text = str(error)
    if "leaf Variable that requires grad" in text or "modified by an inplace operation" in text:
        return "the parameters are changed in place: work on a copy"
    if "numpy() on Tensor that requires grad" in text:
        return "NumPy cannot be used on parameters: use torch's own functions"
    if "must have the same dtype" in text or "expected scalar type" in text or "same dtype" in text:
        return "something in it is made in another dtype than the parameters: pass dtype=params[...].dtype"
    return ""
