"""The flow in JAX: a scan over steps, ``jax.checkpoint`` for the checkpointed adjoint, a second scan for backsolve."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from diffprog.spec import Functions
from diffprog.tasks.flow.field_jax import POTENTIALS, Parts, losses, make_field, outputs
from diffprog.tasks.flow.problem import FlowConfig


def integrate(config: FlowConfig, field: Any, x: Any, *, checkpointed: bool = False) -> tuple[Any, Any]:
    """Carries x (B, d) through N RK4 steps of h; returns the last x and ∫∇²u |dt| of shape (B,)."""
    h = config.step

    def step(state: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        x, integral = state
        k1, g1 = field(x)
        k2, g2 = field(x + h / 2 * k1)
        k3, g3 = field(x + h / 2 * k2)
        k4, g4 = field(x + h * k3)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return (x, integral + abs(h) / 6 * (g1 + 2 * g2 + 2 * g3 + g4)), None

    body = jax.checkpoint(step, prevent_cse=False) if checkpointed else step
    (x, integral), _ = jax.lax.scan(body, (x, jnp.zeros(len(x), x.dtype)), length=config.steps)
    return x, integral


def backsolve(config: FlowConfig, theta: Any, data: dict[str, Any]) -> tuple[Any, Any]:
    """Value and gradient by the continuous adjoint, integrated backwards by RK4; see ``runge_kutta.step_back``."""
    prepare, rhs = POTENTIALS[config.variant]
    parts, prepare_vjp = jax.vjp(partial(prepare, config), theta)
    x, integral = integrate(config, partial(rhs, parts), data["data"])
    value, terminal_vjp = jax.vjp(lambda x, integral: losses(config, x, integral, data).mean(), x, integral)
    x_bar, integral_bar = terminal_vjp(jnp.ones_like(value))
    h = config.step
    eps, sign = abs(h), math.copysign(1, h)

    def step(state: tuple[Any, Any, Parts], _: None) -> tuple[tuple[Any, Any, Parts], None]:
        x, x_bar, totals = state

        def slopes(x: Any, x_bar: Any, weight: float) -> tuple[Any, Any]:
            nonlocal totals
            (v, _), back = jax.vjp(rhs, parts, x)
            parts_bar, x_slope = back((sign * x_bar, integral_bar))
            totals = tuple(total + weight * part_bar for total, part_bar in zip(totals, parts_bar, strict=True))
            return v, x_slope

        k1, l1 = slopes(x, x_bar, eps / 6)
        k2, l2 = slopes(x - h / 2 * k1, x_bar + eps / 2 * l1, eps / 3)
        k3, l3 = slopes(x - h / 2 * k2, x_bar + eps / 2 * l2, eps / 3)
        k4, l4 = slopes(x - h * k3, x_bar + eps * l3, eps / 6)
        x = x - h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return (x, x_bar + eps / 6 * (l1 + 2 * l2 + 2 * l3 + l4), totals), None

    zeros = tuple(jnp.zeros_like(part) for part in parts)
    (_, _, totals), _ = jax.lax.scan(step, (x, x_bar, zeros), length=config.steps)
    return value, prepare_vjp(totals)[0]


def build(config: FlowConfig, method: str) -> Functions:
    if method == "library":
        from diffprog.tasks.flow import by_diffrax

        return by_diffrax.build(config)

    def value(theta: Any, data: dict[str, Any]) -> Any:
        field = make_field(config, theta)
        x, integral = integrate(config, field, data["data"], checkpointed=method == "checkpointed")
        return losses(config, x, integral, data).mean()

    def found(theta: Any, data: dict[str, Any]) -> dict[str, Any]:
        return outputs(config, *integrate(config, make_field(config, theta), data["data"]), data)

    def work(theta: Any, data: dict[str, Any]) -> dict[str, int]:
        field, calls = make_field(config, theta), 0

        def counted(x: Any) -> Any:
            nonlocal calls
            calls += 1
            return field(x)

        with jax.disable_jit():  # the scan's body then really runs once a step
            integrate(config, counted, data["data"])
        return {"parameters": theta.size, "rhs_evaluations": calls, "steps": calls // 4}

    gradient = partial(backsolve, config) if method == "backsolve" else jax.value_and_grad(value)
    return Functions(value, gradient, found, work, "jit", value if method == "discrete" else None)
