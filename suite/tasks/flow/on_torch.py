"""The flow in PyTorch, eager: autograd through all stages, or ``torch.utils.checkpoint`` around each step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from suite.spec import Functions
from suite.tasks.flow.spec import FlowConfig, layout


def softplus_field(config: FlowConfig, theta: Any) -> Any:
    """X (B, d) to v = ∇u (B, d) and ∇²u (B,) for u(x) = Σ_j a_j softplus(w_j·x + b_j)."""
    w, b, a = theta.split([block.size for block in layout(config).blocks])
    w = w.view(config.hidden, config.dim)
    curvature = a * (w * w).sum(dim=1)

    def field(x: Any) -> tuple[Any, Any]:
        s = torch.sigmoid(torch.nn.functional.linear(x, w, b))
        return (s * a) @ w, (s - s * s) @ curvature

    return field


def quadratic_field(config: FlowConfig, theta: Any) -> Any:
    """The same for u(x) = ½ xᵀSx, S = (A + Aᵀ)/2."""
    a = theta.view(config.dim, config.dim)
    s = (a + a.T) / 2

    def field(x: Any) -> tuple[Any, Any]:
        return x @ s, s.trace().expand(len(x))

    return field


FIELDS = {"density": softplus_field, "quadratic": quadratic_field}


def latent(config: FlowConfig, field: Any, x: Any, *, checkpointed: bool = False) -> tuple[Any, Any]:
    """Carries x (B, d) backwards in time by N RK4 steps; returns x₀ and ∫∇²u dt of shape (B,)."""
    eps = config.time / config.steps

    def step(x: Any, integral: Any) -> tuple[Any, Any]:
        # `alpha` saves a multiplication, forwards and backwards, for each sum.
        k1, g1 = field(x)
        k2, g2 = field(torch.add(x, k1, alpha=-eps / 2))
        k3, g3 = field(torch.add(x, k2, alpha=-eps / 2))
        k4, g4 = field(torch.add(x, k3, alpha=-eps))
        x = torch.add(x, torch.add(k1 + k4, k2 + k3, alpha=2), alpha=-eps / 6)
        return x, torch.add(integral, torch.add(g1 + g4, g2 + g3, alpha=2), alpha=eps / 6)

    integral = x.new_zeros(len(x))
    for _ in range(config.steps):
        if checkpointed:
            x, integral = checkpoint(step, x, integral, use_reentrant=False, preserve_rng_state=False)
        else:
            x, integral = step(x, integral)
    return x, integral


def log_density(x: Any, integral: Any) -> Any:
    """Ln p in nats, shape (B,)."""
    return -(integral + (x * x).sum(dim=1) / 2 + x.shape[1] / 2 * math.log(2 * math.pi))


def build(config: FlowConfig, method: str) -> Functions:
    make_field = FIELDS[config.variant]

    def loss(theta: Any, data: dict[str, Any]) -> Any:
        field = make_field(config, theta)
        return -log_density(*latent(config, field, data["data"], checkpointed=method == "checkpointed")).mean()

    def gradient(theta: Any, data: dict[str, Any]) -> tuple[Any, Any]:
        theta = theta.detach().requires_grad_()
        value = loss(theta, data)
        (theta_bar,) = torch.autograd.grad(value, theta)
        return value.detach(), theta_bar

    @torch.no_grad()
    def value(theta: Any, data: dict[str, Any]) -> Any:
        field = make_field(config, theta)
        return -log_density(*latent(config, field, data["data"])).mean()

    @torch.no_grad()
    def outputs(theta: Any, data: dict[str, Any]) -> dict[str, Any]:
        x, integral = latent(config, make_field(config, theta), data["data"])
        density = log_density(x, integral)
        bits = -(density + data["log_jacobian"]).mean() / (config.dim * math.log(2))
        return {"latent": x, "log_density": density, "bits_per_dim": bits}

    @torch.no_grad()
    def work(theta: Any, data: dict[str, Any]) -> dict[str, int]:
        field, calls = make_field(config, theta), 0

        def counted(x: Any) -> Any:
            nonlocal calls
            calls += 1
            return field(x)

        latent(config, counted, data["data"])
        return {"parameters": theta.numel(), "rhs_evaluations": calls, "steps": calls // 4}

    return Functions(value, gradient, outputs, work, engine="eager")
