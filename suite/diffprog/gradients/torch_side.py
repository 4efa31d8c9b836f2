"""A function of PyTorch, in this process, whose settings stay as they are: threads, default dtype and device, modes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch

from diffprog.backends import torch_engines
from diffprog.backends.base import Ask, in_a_row, in_precision
from diffprog.errors import UsageError
from diffprog.gradients.given import Given
from diffprog.gradients.sides import place
from diffprog.models import checking, on_torch
from diffprog.spec import Array, Arrays


class TorchSide:
    """See `sides.Side`. Tensors are on the default device, or where a module is."""

    note = ""

    def __init__(self, function: Any, given: Given, precision: str) -> None:
        of_module = isinstance(function, torch.nn.Module)
        user = loss_of(function) if of_module else function
        file, where = place(function.forward if of_module else function)
        home = next((x.device for x in function.parameters()), None) if of_module else None
        self._device = torch.get_default_device() if home is None else home
        self._precision = precision
        self._functions = replace(on_torch.functions(user, None, given.shapes, file, where), named=None)  # all of θ
        self._value = checking.Guarded(self._functions.value, file, on_torch.hint)
        self._derive = checking.Guarded(self._by_engine, file, on_torch.hint)
        assert self._functions.check is not None
        with _recording():
            self._data = {name: self._tensor(x) for name, x in in_precision(given.data, precision).items()}
            self._functions.check(self._theta(given.theta), self._data)

    def _tensor(self, array: Array) -> Any:
        return torch.tensor(array, device=self._device)  # a copy

    def _theta(self, x: Array) -> Any:
        return self._tensor(x.astype(self._precision))

    def value_at(self, theta: Array) -> float:
        with _recording():
            return float(self._value(self._theta(theta), self._data))

    def gradient_at(self, theta: Array) -> Array:
        return self.derivative_at("gradient", "eager", theta, theta)[1]

    def derivative_at(self, operator: str, engine: str, theta: Array, direction: Array) -> tuple[float, Array]:
        if operator != "gradient":
            _load_forward_mode()
        with _recording():
            value, found = self._derive(Ask(operator, engine), self._theta(theta), self._theta(direction))
        return float(value), in_a_row(found, lambda x: np.array(x.detach().cpu().numpy()))

    def _by_engine(self, ask: Ask, theta: Any, direction: Any) -> tuple[Any, Any]:
        _, derivative = torch_engines.build(self._functions, ask)
        along = () if ask.operator == "gradient" else (direction,)
        found: tuple[Any, Any] = derivative(theta, self._data, *along)
        return found


@contextmanager
def _recording() -> Iterator[None]:
    """Autograd is on, whatever the caller has switched off."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield


@cache
def _load_forward_mode() -> None:
    """PyTorch loads its forward mode with the first call, and warns of itself: no warning of the caller's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.func.jvp(torch.sin, (torch.zeros(()),), (torch.zeros(()),))


def loss_of(module: Any) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    """The loss of a module whose ``forward(data)`` it is, at other parameters; its own are left alone."""
    names = names_of(module)

    def loss(params: dict[str, Any], data: dict[str, Any]) -> Any:
        like = next(iter(params.values())).dtype
        kept = {  # copies: running means are written to
            name: x.to(like if x.is_floating_point() else x.dtype, copy=True) for name, x in module.named_buffers()
        }
        given = {name: params[short] for name, short in names.items() if short in params}
        return torch.func.functional_call(module, kept | given, (data,))

    return loss


def names_of(module: Any) -> dict[str, str]:
    """The parameters' names, and what they are called here: ``layer.weight`` is ``layer_weight``.

    Raises:
        UsageError: if two become one.
    """
    found = {name: name.replace(".", "_") for name, _ in module.named_parameters()}
    if len(set(found.values())) < len(found):
        raise UsageError("check_gradients: two parameters of the module have one name once '.' is '_': rename one")
    return found


def params_of(module: Any) -> Arrays:
    """A module's own parameters on the host."""
    names = names_of(module)
    return {names[name]: x.detach().cpu().numpy() for name, x in module.named_parameters()}
