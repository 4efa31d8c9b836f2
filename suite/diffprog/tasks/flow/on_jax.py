"""The flow in JAX: a scan over steps, ``jax.checkpoint`` for the checkpointed adjoint, a second scan for backsolve."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from diffprog.spec import Functions
from diffprog.tasks.flow import targets
from diffprog.tasks.flow.spec import VARIATIONAL, FlowConfig, layout

# Of a right-hand side only the matrix products are kept for the reverse pass: doing the elementwise work again costs
# less than writing its intermediates to memory and reading them back.
products_only = partial(jax.checkpoint, policy=jax.checkpoint_policies.dots_saveable, prevent_cse=False)
Parts = tuple[Any, ...]
"""What a right-hand side needs of θ."""


def softplus_parts(config: FlowConfig, theta: Any) -> Parts:
    parts = layout(config).split(theta)
    w, a = parts["W"], parts["a"]
    return w, parts["b"], a, a * jnp.sum(w * w, axis=1)


@products_only
def softplus(parts: Parts, x: Any) -> tuple[Any, Any]:
    """At x (B, d), ∇u (B, d) and ∇²u (B,) of u = Σ_j a_j ln(1 + exp(w_j·x + b_j))."""
    w, b, a, curvature = parts
    s = jax.nn.sigmoid(x @ w.T + b)
    return (s * a) @ w, (s * (1 - s)) @ curvature


def log_cosh_parts(config: FlowConfig, theta: Any) -> Parts:
    parts = layout(config).split(theta)
    w, a = parts["W"], parts["a"]
    return w, a, a * jnp.sum(w * w, axis=1)


@products_only
def log_cosh(parts: Parts, x: Any) -> tuple[Any, Any]:
    """The same of Σ_j a_j ln cosh(w_j·x)."""
    w, a, curvature = parts
    t = jnp.tanh(x @ w.T)
    return (t * a) @ w, (1 - t * t) @ curvature


def quadratic_parts(config: FlowConfig, theta: Any) -> Parts:
    a = theta.reshape(config.dim, config.dim)
    return ((a + a.T) / 2,)


def quadratic(parts: Parts, x: Any) -> tuple[Any, Any]:
    """The same of ½ xᵀSx, S = (A + Aᵀ)/2."""
    (s,) = parts
    return x @ s, jnp.full(len(x), jnp.trace(s))


POTENTIALS: dict[str, tuple[Callable[[FlowConfig, Any], Parts], Callable[[Parts, Any], tuple[Any, Any]]]] = {
    "density": (softplus_parts, softplus),
    "quadratic": (quadratic_parts, quadratic),
    **dict.fromkeys(VARIATIONAL, (log_cosh_parts, log_cosh)),
}


def make_field(config: FlowConfig, theta: Any) -> Callable[[Any], tuple[Any, Any]]:
    """The right-hand side at θ: x (B, d) to ∇u (B, d) and ∇²u (B,)."""
    prepare, rhs = POTENTIALS[config.variant]
    return partial(rhs, prepare(config, theta))


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


def log_target(config: FlowConfig, x: Any, data: dict[str, Any]) -> Any:
    """Ln π̃ in nats, shape (B,); see ``diffprog.tasks.flow.targets``."""
    if config.variant == "ising":
        size = jnp.abs(x)
        log_cosh = size + jnp.log1p(jnp.exp(-2 * size)) - math.log(2)
        return jnp.sum(log_cosh - x * (x @ data["inverse_coupling"]) / 2, axis=1)
    if config.variant == "ring":
        square = jnp.sum(x * x, axis=1)
        origin = square == 0  # |x| has no derivative there, but noise that lies there stays there: 0 is the right one
        radius = jnp.where(origin, 0, jnp.sqrt(jnp.where(origin, 1, square)))
        return -((radius - targets.RADIUS) ** 2) / targets.RING
    return -jnp.sum(x * x, axis=1) - targets.SKEW * x[:, 0] * x[:, 1]


def losses(config: FlowConfig, x: Any, integral: Any, data: dict[str, Any]) -> Any:
    """The loss of each sample in nats, (B,): −ln p of the data, or ln p(x) − ln π̃(x) of what the noise became."""
    constant = config.dim / 2 * math.log(2 * math.pi)
    if config.variant not in VARIATIONAL:
        return integral + jnp.sum(x * x, axis=1) / 2 + constant
    z = data["data"]
    return -integral - jnp.sum(z * z, axis=1) / 2 - constant - log_target(config, x, data)


def outputs(config: FlowConfig, x: Any, integral: Any, data: dict[str, Any]) -> dict[str, Any]:
    """See ``diffprog.tasks.flow.reference.outputs``."""
    each = losses(config, x, integral, data)
    if config.variant not in VARIATIONAL:
        bits = (each - data["log_jacobian"]).mean() / (config.dim * math.log(2))
        return {"latent": x, "log_density": -each, "bits_per_dim": bits}
    found = {"samples": x, "log_density": each + log_target(config, x, data), "free_energy": each}
    if config.variant == "ising":
        found["free_energy_per_site"] = each.mean() / config.dim
    return found


def backsolve(config: FlowConfig, theta: Any, data: dict[str, Any]) -> tuple[Any, Any]:
    """Value and gradient by the continuous adjoint, integrated backwards by RK4; see ``reference.step_back``."""
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
