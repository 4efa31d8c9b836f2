"""The flow in PyTorch, eager: autograd through all stages, a checkpoint around each step, or backsolve."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from diffprog.spec import Functions
from diffprog.tasks.flow import targets
from diffprog.tasks.flow.spec import VARIATIONAL, FlowConfig, layout

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


def integrate(config: FlowConfig, field: Any, x: Any, *, checkpointed: bool = False) -> tuple[Any, Any]:
    """Carries x (B, d) through N RK4 steps of h; returns the last x and ∫∇²u |dt| of shape (B,)."""
    h = config.step

    def step(x: Any, integral: Any) -> tuple[Any, Any]:
        # `alpha` saves a multiplication, forwards and backwards, for each sum.
        k1, g1 = field(x)
        k2, g2 = field(torch.add(x, k1, alpha=h / 2))
        k3, g3 = field(torch.add(x, k2, alpha=h / 2))
        k4, g4 = field(torch.add(x, k3, alpha=h))
        x = torch.add(x, torch.add(k1 + k4, k2 + k3, alpha=2), alpha=h / 6)
        return x, torch.add(integral, torch.add(g1 + g4, g2 + g3, alpha=2), alpha=abs(h) / 6)

    integral = x.new_zeros(len(x))
    for _ in range(config.steps):
        if checkpointed:
            x, integral = checkpoint(step, x, integral, use_reentrant=False, preserve_rng_state=False)
        else:
            x, integral = step(x, integral)
    return x, integral


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
    """See ``diffprog.tasks.flow.reference.outputs``."""
    each = losses(config, x, integral, data)
    if config.variant not in VARIATIONAL:
        bits = (each - data["log_jacobian"]).mean() / (config.dim * math.log(2))
        return {"latent": x, "log_density": -each, "bits_per_dim": bits}
    found = {"samples": x, "log_density": each + log_target(config, x, data), "free_energy": each}
    if config.variant == "ising":
        found["free_energy_per_site"] = each.mean() / config.dim
    return found


def terminal_slopes(config: FlowConfig, x: Any, integral: Any, data: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The mean loss and its gradients with respect to x (B, d) and the integral (B,)."""
    x, integral = x.detach().requires_grad_(), integral.detach().requires_grad_()
    with torch.enable_grad():
        value = losses(config, x, integral, data).mean()
    x_bar, integral_bar = torch.autograd.grad(value, (x, integral))
    return value.detach(), x_bar, integral_bar


def backsolve(config: FlowConfig, theta: Any, data: dict[str, Any]) -> tuple[Any, Any]:
    """Value and gradient by the continuous adjoint, integrated backwards by RK4; see ``reference.step_back``.

    Only a stage is ever on autograd's tape.
    """
    prepare, rhs = POTENTIALS[config.variant]
    theta = theta.detach().requires_grad_()
    with torch.enable_grad():
        attached = prepare(config, theta)
    parts = tuple(part.detach().requires_grad_() for part in attached)
    totals = [torch.zeros_like(part) for part in parts]
    h = config.step
    eps, sign = abs(h), math.copysign(1, h)

    def slopes(x: Any, x_bar: Any, weight: float) -> tuple[Any, Any]:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            v, g = rhs(parts, x)
        found = torch.autograd.grad((v, g), (x, *parts), (sign * x_bar, integral_bar), allow_unused=True)
        for total, part_bar in zip(totals, found[1:], strict=True):
            if part_bar is not None:
                total.add_(part_bar, alpha=weight)
        return v.detach(), torch.zeros_like(x) if found[0] is None else found[0]

    with torch.no_grad():
        x, integral = integrate(config, partial(rhs, parts), data["data"])
        value, x_bar, integral_bar = terminal_slopes(config, x, integral, data)
        for _ in range(config.steps):
            k1, l1 = slopes(x, x_bar, eps / 6)
            k2, l2 = slopes(torch.add(x, k1, alpha=-h / 2), torch.add(x_bar, l1, alpha=eps / 2), eps / 3)
            k3, l3 = slopes(torch.add(x, k2, alpha=-h / 2), torch.add(x_bar, l2, alpha=eps / 2), eps / 3)
            k4, l4 = slopes(torch.add(x, k3, alpha=-h), torch.add(x_bar, l3, alpha=eps), eps / 6)
            x = torch.add(x, torch.add(k1 + k4, k2 + k3, alpha=2), alpha=-h / 6)
            x_bar = torch.add(x_bar, torch.add(l1 + l4, l2 + l3, alpha=2), alpha=eps / 6)
    (theta_bar,) = torch.autograd.grad(attached, theta, totals)
    return value, theta_bar


def build(config: FlowConfig, method: str) -> Functions:
    if method == "library":
        from diffprog.tasks.flow import by_torchdiffeq

        return by_torchdiffeq.build(config)

    def loss(theta: Any, data: dict[str, Any], *, checkpointed: bool = False) -> Any:
        x, integral = integrate(config, make_field(config, theta), data["data"], checkpointed=checkpointed)
        return losses(config, x, integral, data).mean()

    def gradient(theta: Any, data: dict[str, Any]) -> tuple[Any, Any]:
        theta = theta.detach().requires_grad_()
        value = loss(theta, data, checkpointed=method == "checkpointed")
        (theta_bar,) = torch.autograd.grad(value, theta)
        return value.detach(), theta_bar

    @torch.no_grad()
    def found(theta: Any, data: dict[str, Any]) -> dict[str, Any]:
        return outputs(config, *integrate(config, make_field(config, theta), data["data"]), data)

    @torch.no_grad()
    def work(theta: Any, data: dict[str, Any]) -> dict[str, int]:
        field, calls = make_field(config, theta), 0

        def counted(x: Any) -> Any:
            nonlocal calls
            calls += 1
            return field(x)

        integrate(config, counted, data["data"])
        return {"parameters": theta.numel(), "rhs_evaluations": calls, "steps": calls // 4}

    value = torch.no_grad()(loss)
    if method != "discrete":
        slope = partial(backsolve, config) if method == "backsolve" else gradient
        return Functions(value, slope, found, work, "eager")
    from diffprog.tasks.flow import expert_torch  # which is made of this module's losses

    return Functions(value, gradient, found, work, "eager", loss, expert=expert_torch.build(config))
