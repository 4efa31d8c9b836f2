"""The flow in JAX: a scan over steps, ``jax.checkpoint`` for the checkpointed adjoint."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from suite.spec import Functions
from suite.tasks.flow.spec import FlowConfig, layout


def softplus_field(config: FlowConfig, theta: Any) -> Any:
    """X (B, d) to v = ∇u (B, d) and ∇²u (B,) for u(x) = Σ_j a_j softplus(w_j·x + b_j)."""
    parts = layout(config).split(theta)
    w, b, a = parts["W"], parts["b"], parts["a"]
    curvature = a * jnp.sum(w * w, axis=1)

    # Of a right-hand side only the matrix products are kept for the reverse pass: doing the elementwise work again
    # costs less than writing its intermediates to memory and reading them back.
    @partial(jax.checkpoint, policy=jax.checkpoint_policies.dots_saveable, prevent_cse=False)
    def field(x: Any) -> tuple[Any, Any]:
        s = jax.nn.sigmoid(x @ w.T + b)
        return (s * a) @ w, (s * (1 - s)) @ curvature

    return field


def quadratic_field(config: FlowConfig, theta: Any) -> Any:
    """The same for u(x) = ½ xᵀSx, S = (A + Aᵀ)/2."""
    a = theta.reshape(config.dim, config.dim)
    s = (a + a.T) / 2

    def field(x: Any) -> tuple[Any, Any]:
        return x @ s, jnp.full(len(x), jnp.trace(s))

    return field


FIELDS = {"density": softplus_field, "quadratic": quadratic_field}


def latent(config: FlowConfig, field: Any, x: Any, *, checkpointed: bool = False) -> tuple[Any, Any]:
    """Carries x (B, d) backwards in time by N RK4 steps; returns x₀ and ∫∇²u dt of shape (B,)."""
    eps = config.time / config.steps

    def step(state: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        x, integral = state
        k1, g1 = field(x)
        k2, g2 = field(x - eps / 2 * k1)
        k3, g3 = field(x - eps / 2 * k2)
        k4, g4 = field(x - eps * k3)
        x = x - eps / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return (x, integral + eps / 6 * (g1 + 2 * g2 + 2 * g3 + g4)), None

    body = jax.checkpoint(step, prevent_cse=False) if checkpointed else step
    (x, integral), _ = jax.lax.scan(body, (x, jnp.zeros(len(x), x.dtype)), length=config.steps)
    return x, integral


def log_density(x: Any, integral: Any) -> Any:
    """Ln p in nats, shape (B,)."""
    return -(integral + jnp.sum(x * x, axis=1) / 2 + x.shape[1] / 2 * jnp.log(2 * jnp.pi))


def build(config: FlowConfig, method: str) -> Functions:
    make_field = FIELDS[config.variant]

    def value(theta: Any, data: dict[str, Any]) -> Any:
        field = make_field(config, theta)
        return -log_density(*latent(config, field, data["data"], checkpointed=method == "checkpointed")).mean()

    def outputs(theta: Any, data: dict[str, Any]) -> dict[str, Any]:
        x, integral = latent(config, make_field(config, theta), data["data"])
        density = log_density(x, integral)
        bits = -(density + data["log_jacobian"]).mean() / (config.dim * jnp.log(2.0))
        return {"latent": x, "log_density": density, "bits_per_dim": bits}

    def work(theta: Any, data: dict[str, Any]) -> dict[str, int]:
        field, calls = make_field(config, theta), 0

        def counted(x: Any) -> Any:
            nonlocal calls
            calls += 1
            return field(x)

        with jax.disable_jit():  # the scan's body then really runs once a step
            latent(config, counted, data["data"])
        return {"parameters": theta.size, "rhs_evaluations": calls, "steps": calls // 4}

    return Functions(value, jax.value_and_grad(value), outputs, work, engine="jit")
