"""The right-hand sides of the flow in PyTorch, the loss of where it ends, and what is shown of that; see ``field``."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from diffprog.tasks.flow import targets
from diffprog.tasks.flow.problem import VARIATIONAL, FlowConfig, layout

Parts = tuple[Any, ...]
"""What a right-hand side needs of θ."""


def softplus_parts(config: FlowConfig, theta: Any) -> Parts:
    w, b, a = theta.split([block.size for block in layout(config).blocks])
    w = w.view(config.hidden, config.dim)
    return w, b, a, a * (w * w).sum(dim=1)


def softplus(parts: Parts, x: Any) -> tuple[Any, Any]:
    """At x (B, d), ∇u (B, d) and ∇²u (B,) of u = Σ_j a_j ln(1 + exp(w_j·x + b_j))."""
    w, b, a, curvature = parts
    s = torch.sigmoid(torch.nn.functional.linear(x, w, b))
    return (s * a) @ w, (s - s * s) @ curvature


def log_cosh_parts(config: FlowConfig, theta: Any) -> Parts:
    w, a = theta.split([block.size for block in layout(config).blocks])
    w = w.view(config.hidden, config.dim)
    return w, a, a * (w * w).sum(dim=1)


def log_cosh(parts: Parts, x: Any) -> tuple[Any, Any]:
    """The same of Σ_j a_j ln cosh(w_j·x)."""
    w, a, curvature = parts
    t = torch.tanh(torch.nn.functional.linear(x, w))
    return (t * a) @ w, (1 - t * t) @ curvature


def quadratic_parts(config: FlowConfig, theta: Any) -> Parts:
    a = theta.view(config.dim, config.dim)
    return ((a + a.T) / 2,)


def quadratic(parts: Parts, x: Any) -> tuple[Any, Any]:
    """The same of ½ xᵀSx, S = (A + Aᵀ)/2."""
    (s,) = parts
    return x @ s, s.trace().expand(len(x))


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
        size = x.abs()
        log_cosh = size + torch.log1p(torch.exp(-2 * size)) - math.log(2)
        return (log_cosh - x * (x @ data["inverse_coupling"]) / 2).sum(dim=1)
    if config.variant == "ring":
        square = (x * x).sum(dim=1)
        origin = square == 0  # |x| has no derivative there, but noise that lies there stays there: 0 is the right one
        radius = torch.where(origin, 1, square).sqrt().masked_fill(origin, 0)
        return -(radius - targets.RADIUS).square() / targets.RING
    return -(x * x).sum(dim=1) - targets.SKEW * x[:, 0] * x[:, 1]


def losses(config: FlowConfig, x: Any, integral: Any, data: dict[str, Any]) -> Any:
    """The loss of each sample in nats, (B,): −ln p of the data, or ln p(x) − ln π̃(x) of what the noise became."""
    constant = config.dim / 2 * math.log(2 * math.pi)
    if config.variant not in VARIATIONAL:
        return integral + (x * x).sum(dim=1) / 2 + constant
    z = data["data"]
    return -integral - (z * z).sum(dim=1) / 2 - constant - log_target(config, x, data)


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
