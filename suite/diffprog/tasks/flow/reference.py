"""The reference: NumPy, with every derivative written by hand.

The state of a batch is ``x`` of shape (B, d) and the integral of the divergence, shape (B,). RK4 steps of h carry it:
h = −ε takes data backwards in time, h = ε noise forwards. The reverse pass walks the stages in the opposite order.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from diffprog.spec import Array, Functions
from diffprog.tasks.flow import second
from diffprog.tasks.flow.field import POTENTIALS, outputs, terminal
from diffprog.tasks.flow.problem import FlowConfig
from diffprog.tasks.flow.runge_kutta import step, step_back, step_vjp


class Flow:
    """The loss and its gradient for one configuration and method."""

    def __init__(self, config: FlowConfig, method: str) -> None:
        self.config = config
        self.method = method
        self.h = config.step

    def integrate(self, theta: Array, data: dict[str, Array]) -> tuple[Array, Array, int]:
        """The last x of shape (B, d), the integral of shape (B,), and the number of right-hand sides evaluated."""
        potential = POTENTIALS[self.config.variant](self.config, theta)
        x, integral = data["data"], np.zeros(len(data["data"]), dtype=theta.dtype)
        evaluations = 0
        for _ in range(self.config.steps):
            x, integral, tapes = step(potential, x, integral, self.h)
            evaluations += len(tapes)
        return x, integral, evaluations

    def value(self, theta: Array, data: dict[str, Array]) -> Any:
        x, integral, _ = self.integrate(theta, data)
        return terminal(self.config, x, integral, data)[0].mean()

    def gradient(self, theta: Array, data: dict[str, Array]) -> tuple[Any, Array]:
        potential = POTENTIALS[self.config.variant](self.config, theta)
        x, integral = data["data"], np.zeros(len(data["data"]), dtype=theta.dtype)
        kept: list[Any] = []  # discrete: the tapes of each step; checkpointed: x at its start; backsolve: nothing
        for _ in range(self.config.steps):
            start = x
            x, integral, tapes = step(potential, x, integral, self.h)
            if self.method != "backsolve":
                kept.append(start if self.method == "checkpointed" else tapes)
        del tapes
        losses, x_bar, sign = terminal(self.config, x, integral, data)
        x_bar, integral_bar = x_bar / len(x), np.full(len(x), sign / len(x), dtype=theta.dtype)
        for _ in range(self.config.steps):
            if self.method == "backsolve":
                x, x_bar = step_back(potential, x, x_bar, integral_bar, self.h)
                continue
            tapes = kept.pop()
            if self.method == "checkpointed":
                _, _, tapes = step(potential, tapes, integral, self.h)
            x_bar = step_vjp(potential, tapes, x_bar, integral_bar, self.h)
        return losses.mean(), potential.gradient()

    def outputs(self, theta: Array, data: dict[str, Array]) -> dict[str, Array]:
        x, integral, _ = self.integrate(theta, data)
        return outputs(self.config, x, integral, data)

    def work(self, theta: Array, data: dict[str, Array]) -> dict[str, int]:
        _, _, evaluations = self.integrate(theta, data)
        return {"parameters": theta.size, "rhs_evaluations": evaluations, "steps": evaluations // 4}


def sample(config: FlowConfig, theta: Array, noise: Array) -> Array:
    """Carries ``noise`` (B, d) forwards in time, by RK4 steps of +ε: samples (B, d) of the flow's density."""
    potential = POTENTIALS[config.variant](config, theta)
    x, integral = noise, np.zeros(len(noise))
    for _ in range(config.steps):
        x, integral, _ = step(potential, x, integral, config.time / config.steps)
    return x


def build(config: FlowConfig, method: str) -> Functions:
    if method == "library":
        from diffprog.tasks.flow import by_scipy  # whose solvers the other methods do without

        return by_scipy.build(config)
    flow = Flow(config, method)
    jvp, hvp = (partial(rule, config) if method == "discrete" else None for rule in (second.jvp, second.hvp))
    return Functions(flow.value, flow.gradient, flow.outputs, flow.work, made_with="hand", jvp=jvp, hvp=hvp)
