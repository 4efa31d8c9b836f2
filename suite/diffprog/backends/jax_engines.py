"""Operators by JAX's modes: reverse, forward, and one over the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from diffprog.backends.base import Ask
from diffprog.errors import Unsupported
from diffprog.spec import Functions

TANGENTS = 64
"""Columns of the Jacobian that forward mode computes at a time: what bounds its memory."""


def derivative(functions: Functions, ask: Ask) -> Callable[..., Any]:
    """The derivative, of ``(θ, data)`` or ``(θ, data, v)``, to be compiled.

    Raises:
        Unsupported: if the mode cannot do the operator, or the method is a rule of its own for gradients.
    """
    if ask.operator == "value" or (ask.operator, ask.engine) == ("gradient", "reverse"):
        return functions.parts or functions.gradient
    if (ask.operator, ask.engine) not in _MODES:
        raise Unsupported(f"{ask.engine} mode cannot make a {ask.operator}")
    if functions.loss is None:
        raise Unsupported(
            f"{ask.operator}: this method is a rule of its own for gradients, with nothing to differentiate"
        )
    return _MODES[ask.operator, ask.engine](functions.loss)


def forward_gradient(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The Jacobian's columns, `TANGENTS` at a time, through one linearisation."""

    def gradient(theta: Any, data: Any) -> tuple[Any, Any]:
        value, pushforward = jax.linearize(lambda x: loss(x, data), theta)

        def component(index: Any) -> Any:
            return pushforward(jnp.zeros_like(theta).at[index].set(1))

        return value, jax.lax.map(component, jnp.arange(theta.size), batch_size=min(TANGENTS, theta.size))

    return gradient


def forward_jvp(loss: Callable[..., Any]) -> Callable[..., Any]:
    def jvp(theta: Any, data: Any, direction: Any) -> Any:
        return jax.jvp(lambda x: loss(x, data), (theta,), (direction,))

    return jvp


def forward_over_reverse(loss: Callable[..., Any]) -> Callable[..., Any]:
    def hvp(theta: Any, data: Any, direction: Any) -> tuple[Any, Any]:
        (value, _), (_, found) = jax.jvp(lambda x: jax.value_and_grad(loss)(x, data), (theta,), (direction,))
        return value, found

    return hvp


def reverse_over_reverse(loss: Callable[..., Any]) -> Callable[..., Any]:
    def hvp(theta: Any, data: Any, direction: Any) -> tuple[Any, Any]:
        def slope(x: Any) -> tuple[Any, Any]:
            value, theta_bar = jax.value_and_grad(loss)(x, data)
            return theta_bar @ direction, value

        found, value = jax.grad(slope, has_aux=True)(theta)
        return value, found

    return hvp


_MODES = {
    ("gradient", "forward"): forward_gradient,
    ("jvp", "forward"): forward_jvp,
    ("hvp", "forward_over_reverse"): forward_over_reverse,
    ("hvp", "reverse_over_reverse"): reverse_over_reverse,
}
