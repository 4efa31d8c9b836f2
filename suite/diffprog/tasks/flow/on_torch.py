"""The flow in PyTorch, eager: autograd through all stages, a checkpoint around each step, or backsolve."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from diffprog.spec import Functions
from diffprog.tasks.flow import expert_torch
from diffprog.tasks.flow.field_torch import POTENTIALS, losses, make_field, outputs
from diffprog.tasks.flow.problem import FlowConfig


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


def terminal_slopes(config: FlowConfig, x: Any, integral: Any, data: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The mean loss and its gradients with respect to x (B, d) and the integral (B,)."""
    x, integral = x.detach().requires_grad_(), integral.detach().requires_grad_()
    with torch.enable_grad():
        value = losses(config, x, integral, data).mean()
    x_bar, integral_bar = torch.autograd.grad(value, (x, integral))
    return value.detach(), x_bar, integral_bar


def backsolve(config: FlowConfig, theta: Any, data: dict[str, Any]) -> tuple[Any, Any]:
    """Value and gradient by the continuous adjoint, integrated backwards by RK4; see ``runge_kutta.step_back``.

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
    return Functions(value, gradient, found, work, "eager", loss, expert=expert_torch.build(config))
