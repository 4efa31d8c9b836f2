"""The right-hand sides of the flow in JAX, the loss of where it ends, and what is shown of that; see ``field``."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from diffprog.tasks.flow import targets
from diffprog.tasks.flow.problem import VARIATIONAL, FlowConfig, layout

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
    """See ``field.outputs``."""
    each = losses(config, x, integral, data)
    if config.variant not in VARIATIONAL:
        bits = (each - data["log_jacobian"]).mean() / (config.dim * math.log(2))
        return {"latent": x, "log_density": -each, "bits_per_dim": bits}
    found = {"samples": x, "log_density": each + log_target(config, x, data), "free_energy": each}
    if config.variant == "ising":
        found["free_energy_per_site"] = each.mean() / config.dim
    return found
