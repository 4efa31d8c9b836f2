"""The flow by diffrax: the adaptive method Tsit5 under jit, differentiated by diffrax's default, recursive checkpoints.

Unlike a continuous adjoint that gradient is exact for the steps that the solver took.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from diffprog.errors import Unavailable
from diffprog.spec import Functions
from diffprog.tasks.flow.field_jax import losses, make_field, outputs
from diffprog.tasks.flow.problem import FlowConfig, solver_tolerance

MAX_STEPS = 4096
"""The checkpoints are laid out for so many; a solve that needs more fails, and says so."""


def build(config: FlowConfig) -> Functions:
    """Functions of the flow.

    Raises:
        Unavailable: if diffrax is not installed.
    """
    try:
        import diffrax
    except ImportError as error:
        raise Unavailable(f"diffrax cannot be imported ({error})", "python -m pip install diffrax") from error
    sign = math.copysign(1, config.step)

    def solve(theta: Any, x: Any) -> Any:
        field = make_field(config, theta)

        def slope(t: Any, state: tuple[Any, Any], _: None) -> tuple[Any, Any]:
            v, g = field(state[0])
            return sign * v, g

        tolerance = solver_tolerance(config, x.dtype)
        return diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            diffrax.Tsit5(),
            t0=0.0,
            t1=config.time,
            dt0=None,
            y0=(x, jnp.zeros(len(x), x.dtype)),
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            saveat=diffrax.SaveAt(t1=True),
            max_steps=MAX_STEPS,
        )

    def integrate(theta: Any, x: Any) -> tuple[Any, Any]:
        """The last x (B, d) and ∫∇²u |dt| (B,)."""
        ends = solve(theta, x).ys
        return ends[0][-1], ends[1][-1]

    def value(theta: Any, data: dict[str, Any]) -> Any:
        return losses(config, *integrate(theta, data["data"]), data).mean()

    def found(theta: Any, data: dict[str, Any]) -> dict[str, Any]:
        return outputs(config, *integrate(theta, data["data"]), data)

    def work(theta: Any, data: dict[str, Any]) -> dict[str, int]:
        """Tsit5 evaluates six slopes a step, two to choose the first one, and in reverse those of each step taken."""
        stats = jax.jit(lambda theta, x: solve(theta, x).stats)(theta, data["data"])
        steps, accepted = int(stats["num_steps"]), int(stats["num_accepted_steps"])
        value = 2 + 6 * steps
        return {
            "parameters": theta.size,
            "adaptive_evaluations": value,
            "adaptive_evaluations_gradient": value + 6 * accepted,
        }

    return Functions(value, jax.value_and_grad(value), found, work, made_with="diffrax Tsit5")
