"""The flow by SciPy: the adaptive Runge-Kutta method DOP853 (Dormand-Prince 8(5,3)), the continuous adjoint by it too.

SciPy computes in float64 whatever it is given; the right-hand side is evaluated in the precision of θ.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from diffprog.spec import Array, Functions
from diffprog.tasks.flow.field import POTENTIALS, outputs, terminal
from diffprog.tasks.flow.problem import FlowConfig, solver_tolerance


class Adaptive:
    def __init__(self, config: FlowConfig) -> None:
        self.config = config
        self.sign = math.copysign(1, config.step)

    def solve(self, slope: Any, state: Array, dtype: Any) -> tuple[Array, int]:
        """The state (n,) at time T, and the evaluations of ``slope``.

        Raises:
            ArithmeticError: if the solver gives up, as it does where the step becomes too small.
        """
        tolerance = solver_tolerance(self.config, dtype)
        # Only the end is wanted: SciPy then keeps no history.
        done = solve_ivp(
            slope, (0.0, self.config.time), state, "DOP853", t_eval=[self.config.time], rtol=tolerance, atol=tolerance
        )
        if not done.success:
            raise ArithmeticError(f"DOP853 stopped: {done.message}")
        return done.y[:, -1].astype(dtype), done.nfev

    def integrate(self, theta: Array, data: dict[str, Array]) -> tuple[Array, Array, int]:
        """The last x (B, d), the integral (B,) and the right-hand sides evaluated."""
        potential = POTENTIALS[self.config.variant](self.config, theta)
        batch = data["data"]

        def slope(t: float, state: Array) -> Array:
            v, g, _ = potential.rhs(state[: batch.size].reshape(batch.shape).astype(theta.dtype))
            return np.concatenate([self.sign * v.ravel(), g])

        end, evaluations = self.solve(slope, np.concatenate([batch.ravel(), np.zeros(len(batch))]), theta.dtype)
        return end[: batch.size].reshape(batch.shape), end[batch.size :], evaluations

    def value(self, theta: Array, data: dict[str, Array]) -> Any:
        x, integral, _ = self.integrate(theta, data)
        return terminal(self.config, x, integral, data)[0].mean()

    def gradient(self, theta: Array, data: dict[str, Array]) -> tuple[Any, Array]:
        value, slope, _ = self.counted_gradient(theta, data)
        return value, slope

    def counted_gradient(self, theta: Array, data: dict[str, Array]) -> tuple[Any, Array, int]:
        """Value and gradient by the continuous adjoint (see ``runge_kutta.step_back``), and all evaluations."""
        x, integral, evaluations = self.integrate(theta, data)
        losses, x_bar, q_sign = terminal(self.config, x, integral, data)
        integral_bar = np.full(len(x), q_sign / len(x), dtype=theta.dtype)
        potential = POTENTIALS[self.config.variant](self.config, theta)
        n = x.size

        def slope(t: float, state: Array) -> Array:
            here, bar = (part.reshape(x.shape).astype(theta.dtype) for part in (state[:n], state[n : 2 * n]))
            potential.reset()
            v, _, tape = potential.rhs(here)
            back = potential.rhs_vjp(tape, self.sign * bar, integral_bar)
            return np.concatenate([-self.sign * v.ravel(), back.ravel(), potential.gradient()])

        start = np.concatenate([x.ravel(), x_bar.ravel() / len(x), np.zeros(theta.size)])
        end, more = self.solve(slope, start, theta.dtype)
        return losses.mean(), end[2 * n :], evaluations + more

    def outputs(self, theta: Array, data: dict[str, Array]) -> dict[str, Array]:
        x, integral, _ = self.integrate(theta, data)
        return outputs(self.config, x, integral, data)

    def work(self, theta: Array, data: dict[str, Array]) -> dict[str, int]:
        """The counts of an adaptive solver are no invariants: they have names of their own."""
        _, _, value = self.integrate(theta, data)
        _, _, gradient = self.counted_gradient(theta, data)
        return {"parameters": theta.size, "adaptive_evaluations": value, "adaptive_evaluations_gradient": gradient}


def build(config: FlowConfig) -> Functions:
    solver = Adaptive(config)
    return Functions(solver.value, solver.gradient, solver.outputs, solver.work, made_with="SciPy DOP853")
