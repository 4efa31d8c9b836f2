"""Operators by JAX's modes: reverse, forward, and one over the other; and by Enzyme on what JAX compiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from diffprog.backends.base import Ask
from diffprog.errors import Unavailable, Unsupported
from diffprog.spec import Functions

ENZYME = 'python -m pip install "enzyme-ad>=0.0.16"'
TANGENTS = 64
"""Columns of the Jacobian that forward mode computes at a time: what bounds its memory."""


def derivative(functions: Functions, ask: Ask) -> Callable[..., Any]:
    """The derivative, of ``(θ, data)`` or ``(θ, data, v)``, to be compiled.

    Raises:
        Unsupported: if the mode cannot do the operator, or the method is a rule of its own for gradients.
        Unavailable: if the engine is not installed.
    """
    named = functions.named
    if ask.operator == "value" or (ask.operator, ask.engine) == ("gradient", "reverse"):
        return functions.gradient if named is None else jax.value_and_grad(named.loss)
    if ask.engine == "enzyme" and functions.loss is not None:
        return enzyme(functions.loss, ask.operator)
    if (ask.operator, ask.engine) not in _MODES and ask.engine != "enzyme":
        raise Unsupported(f"{ask.engine} mode cannot make a {ask.operator}")
    if functions.loss is None:
        raise Unsupported(
            f"{ask.operator}: this method is a rule of its own for gradients, with nothing to differentiate"
        )
    return _MODES[ask.operator, ask.engine](functions.loss if named is None or not by_name(ask) else named.loss)


def by_name(ask: Ask) -> bool:
    """Whether the engine takes a model's parameters by name; others take θ."""
    return ask.engine != "enzyme" and (ask.operator, ask.engine) != ("gradient", "forward")


def dot(x: Any, y: Any) -> Any:
    """x·y, of arrays or of arrays by name."""
    return x @ y if not isinstance(x, dict) else sum(jnp.sum(x[name] * y[name]) for name in x)


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
            return dot(theta_bar, direction), value

        found, value = jax.grad(slope, has_aux=True)(theta)
        return value, found

    return hvp


def enzyme(loss: Callable[..., Any], operator: str) -> Callable[..., Any]:
    """Enzyme's reverse mode, its forward mode, or the one over the other, on the program that JAX makes of the loss.

    Rules of JAX's own, such as ``custom_vjp``, are not in that program: what they stand for is differentiated.

    Raises:
        Unavailable: if enzyme-ad is not installed, or not made for this JAX.
    """
    try:
        from enzyme_ad.jax import enzyme_jax_ir
    except Exception as error:  # it reaches into JAX: with another version anything may be missing
        reason = f"enzyme-ad cannot be imported with JAX {jax.__version__} ({type(error).__name__}: {error})"
        raise Unavailable(reason, ENZYME) from error
    inner = enzyme_jax_ir()(loss)
    if operator == "gradient":
        found: Callable[..., Any] = jax.value_and_grad(inner)
        return found
    if operator == "jvp":
        return forward_jvp(inner)

    def slope(theta: Any, data: Any) -> tuple[Any, Any]:
        value, theta_bar = jax.value_and_grad(inner)(theta, data)
        return value, theta_bar

    outer = enzyme_jax_ir()(slope)  # twice: the transforms of one such function do not nest

    def hvp(theta: Any, data: Any, direction: Any) -> tuple[Any, Any]:
        (value, _), (_, found) = jax.jvp(lambda x: outer(x, data), (theta,), (direction,))
        return value, found

    return hvp


_MODES = {
    ("gradient", "forward"): forward_gradient,
    ("jvp", "forward"): forward_jvp,
    ("hvp", "forward_over_reverse"): forward_over_reverse,
    ("hvp", "reverse_over_reverse"): reverse_over_reverse,
}
