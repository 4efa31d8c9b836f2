"""The flow by torchdiffeq: the adaptive Dormand-Prince 5(4) method, the continuous adjoint by it too."""

from __future__ import annotations

import math
from typing import Any

import torch

from diffprog.errors import Unavailable
from diffprog.spec import Functions
from diffprog.tasks.flow.field_torch import POTENTIALS, losses, outputs
from diffprog.tasks.flow.problem import FlowConfig, solver_tolerance


def build(config: FlowConfig) -> Functions:
    """Functions of the flow.

    Raises:
        Unavailable: if torchdiffeq is not installed.
    """
    try:
        from torchdiffeq import odeint, odeint_adjoint
    except ImportError as error:
        raise Unavailable(f"torchdiffeq cannot be imported ({error})", "python -m pip install torchdiffeq") from error
    prepare, rhs = POTENTIALS[config.variant]
    sign = math.copysign(1, config.step)
    calls = 0

    def integrate(parts: Any, x: Any) -> tuple[Any, Any]:
        """The last x (B, d) and ∫∇²u |dt| (B,), differentiable by the adjoint where autograd records."""

        def slope(t: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
            nonlocal calls
            calls += 1
            v, g = rhs(parts, state[0])
            return sign * v, g

        tolerance = solver_tolerance(config, str(x.dtype).removeprefix("torch."))
        options = {"rtol": tolerance, "atol": tolerance, "method": "dopri5"}
        state, times = (x, x.new_zeros(len(x))), x.new_tensor([0.0, config.time])
        if torch.is_grad_enabled():
            ends = odeint_adjoint(slope, state, times, adjoint_params=parts, **options)
        else:
            ends = odeint(slope, state, times, **options)
        return ends[0][-1], ends[1][-1]

    @torch.no_grad()
    def value(theta: Any, data: dict[str, Any]) -> Any:
        return losses(config, *integrate(prepare(config, theta), data["data"]), data).mean()

    def gradient(theta: Any, data: dict[str, Any]) -> tuple[Any, Any]:
        theta = theta.detach().requires_grad_()
        attached = prepare(config, theta)
        # Leaves: were one a function of another, the adjoint would count their common cotangents twice.
        parts = tuple(part.detach().requires_grad_() for part in attached)
        loss = losses(config, *integrate(parts, data["data"]), data).mean()
        (theta_bar,) = torch.autograd.grad(attached, theta, torch.autograd.grad(loss, parts))
        return loss.detach(), theta_bar

    @torch.no_grad()
    def found(theta: Any, data: dict[str, Any]) -> dict[str, Any]:
        return outputs(config, *integrate(prepare(config, theta), data["data"]), data)

    def work(theta: Any, data: dict[str, Any]) -> dict[str, int]:
        counts = []
        for function in (value, gradient):
            before = calls
            function(theta, data)
            counts.append(calls - before)
        return {
            "parameters": theta.numel(),
            "adaptive_evaluations": counts[0],
            "adaptive_evaluations_gradient": counts[1],
        }

    return Functions(value, gradient, found, work, made_with="torchdiffeq dopri5")
