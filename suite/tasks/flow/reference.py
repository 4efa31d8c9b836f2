"""The reference: NumPy, with every derivative written by hand.

The state of a batch is ``x`` of shape (B, d) and the integral of the divergence, shape (B,). Data is carried backwards
in time by RK4 steps of −ε; the reverse pass walks the stages in the opposite order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import expit

from suite.spec import Array, Functions
from suite.tasks.flow.spec import FlowConfig, layout

Tape = tuple[Array, ...]


class Softplus:
    """u(x) = Σ_j a_j softplus(w_j·x + b_j); arXiv:1809.10188, section 3, with one hidden layer."""

    def __init__(self, config: FlowConfig, theta: Array) -> None:
        parts = layout(config).split(theta)
        self.w, self.b, self.a = parts["W"], parts["b"], parts["a"]
        self.norm2 = np.einsum("hd,hd->h", self.w, self.w)
        self.w_bar, self.b_bar, self.a_bar = np.zeros_like(self.w), np.zeros_like(self.b), np.zeros_like(self.a)
        self.norm2_bar = np.zeros_like(self.norm2)

    def rhs(self, x: Array) -> tuple[Array, Array, Tape]:
        """V = ∇u of shape (B, d) and ∇²u of shape (B,)."""
        s = expit(x @ self.w.T + self.b)
        v = (s * self.a) @ self.w
        divergence = (s * (1 - s)) @ (self.a * self.norm2)
        return v, divergence, (x, s)

    def rhs_vjp(self, tape: Tape, v_bar: Array, divergence_bar: Array) -> Array:
        """Adds to the parameters' cotangents and returns that of x."""
        x, s = tape
        ds = s * (1 - s)
        g_bar = v_bar @ self.w.T
        s_bar = g_bar * self.a + np.outer(divergence_bar, self.a * self.norm2) * (1 - 2 * s)
        z_bar = s_bar * ds
        curvature = divergence_bar @ ds
        self.a_bar += np.einsum("bh,bh->h", g_bar, s) + curvature * self.norm2
        self.norm2_bar += curvature * self.a
        self.w_bar += (s * self.a).T @ v_bar + z_bar.T @ x
        self.b_bar += z_bar.sum(axis=0)
        x_bar: Array = z_bar @ self.w
        return x_bar

    def gradient(self) -> Array:
        w_bar = self.w_bar + 2 * self.norm2_bar[:, None] * self.w
        return np.concatenate([w_bar.ravel(), self.b_bar, self.a_bar])


class Quadratic:
    """u(x) = ½ xᵀSx with S = (A + Aᵀ)/2: the potential whose flow is known in closed form."""

    def __init__(self, config: FlowConfig, theta: Array) -> None:
        a = theta.reshape(config.dim, config.dim)
        self.s = (a + a.T) / 2
        self.s_bar = np.zeros_like(self.s)

    def rhs(self, x: Array) -> tuple[Array, Array, Tape]:
        return x @ self.s, np.full(len(x), np.trace(self.s)), (x,)

    def rhs_vjp(self, tape: Tape, v_bar: Array, divergence_bar: Array) -> Array:
        (x,) = tape
        self.s_bar += x.T @ v_bar
        self.s_bar[np.diag_indices_from(self.s_bar)] += divergence_bar.sum()
        x_bar: Array = v_bar @ self.s
        return x_bar

    def gradient(self) -> Array:
        return ((self.s_bar + self.s_bar.T) / 2).ravel()


POTENTIALS: dict[str, type[Softplus | Quadratic]] = {"density": Softplus, "quadratic": Quadratic}


def step(potential: Any, x: Array, integral: Array, eps: float) -> tuple[Array, Array, list[Tape]]:
    """One RK4 step of −ε on (x, ∫∇²u dt)."""
    k1, g1, t1 = potential.rhs(x)
    k2, g2, t2 = potential.rhs(x - eps / 2 * k1)
    k3, g3, t3 = potential.rhs(x - eps / 2 * k2)
    k4, g4, t4 = potential.rhs(x - eps * k3)
    x = x - eps / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x, integral + eps / 6 * (g1 + 2 * g2 + 2 * g3 + g4), [t1, t2, t3, t4]


def step_vjp(potential: Any, tapes: list[Tape], x_bar: Array, integral_bar: Array, eps: float) -> Array:
    """The cotangent of x before the step from that after it; parameters' cotangents are added up in the potential."""
    g = eps / 6 * integral_bar
    x4 = potential.rhs_vjp(tapes[3], -eps / 6 * x_bar, g)
    x3 = potential.rhs_vjp(tapes[2], -eps / 3 * x_bar - eps * x4, 2 * g)
    x2 = potential.rhs_vjp(tapes[1], -eps / 3 * x_bar - eps / 2 * x3, 2 * g)
    x1 = potential.rhs_vjp(tapes[0], -eps / 6 * x_bar - eps / 2 * x2, g)
    x_bar = x_bar + x4 + x3 + x2 + x1
    return x_bar


def negative_log_density(x: Array, integral: Array) -> Array:
    """∫∇²u dt + |x₀|²/2 + (d/2) ln 2π, in nats, shape (B,)."""
    d = x.shape[1]
    density: Array = integral + np.einsum("bd,bd->b", x, x) / 2 + d / 2 * math.log(2 * math.pi)
    return density


class Flow:
    """The loss and its gradient for one configuration and method."""

    def __init__(self, config: FlowConfig, method: str) -> None:
        self.config = config
        self.checkpointed = method == "checkpointed"
        self.eps = config.time / config.steps

    def latent(self, theta: Array, data: dict[str, Array]) -> tuple[Array, Array, int]:
        """x₀ of shape (B, d), the integral of shape (B,), and the number of right-hand sides evaluated."""
        potential = POTENTIALS[self.config.variant](self.config, theta)
        x, integral = data["data"], np.zeros(len(data["data"]), dtype=theta.dtype)
        evaluations = 0
        for _ in range(self.config.steps):
            x, integral, tapes = step(potential, x, integral, self.eps)
            evaluations += len(tapes)
        return x, integral, evaluations

    def value(self, theta: Array, data: dict[str, Array]) -> Any:
        x, integral, _ = self.latent(theta, data)
        return negative_log_density(x, integral).mean()

    def gradient(self, theta: Array, data: dict[str, Array]) -> tuple[Any, Array]:
        potential = POTENTIALS[self.config.variant](self.config, theta)
        x, integral = data["data"], np.zeros(len(data["data"]), dtype=theta.dtype)
        kept: list[Any] = []  # discrete: the tapes of each step; checkpointed: x at its start
        for _ in range(self.config.steps):
            start = x
            x, integral, tapes = step(potential, x, integral, self.eps)
            kept.append(start if self.checkpointed else tapes)
        value = negative_log_density(x, integral).mean()
        batch = len(x)
        x_bar, integral_bar = x / batch, np.full(batch, 1 / batch, dtype=theta.dtype)
        while kept:
            tapes = kept.pop()
            if self.checkpointed:
                _, _, tapes = step(potential, tapes, integral, self.eps)
            x_bar = step_vjp(potential, tapes, x_bar, integral_bar, self.eps)
        return value, potential.gradient()

    def outputs(self, theta: Array, data: dict[str, Array]) -> dict[str, Array]:
        """``latent`` (B, d), ``log_density`` (B,) in nats, ``bits_per_dim`` ()."""
        x, integral, _ = self.latent(theta, data)
        log_density = -negative_log_density(x, integral)
        bits = -(log_density + data["log_jacobian"]).mean() / (self.config.dim * math.log(2))
        return {"latent": x, "log_density": log_density, "bits_per_dim": np.asarray(bits)}

    def work(self, theta: Array, data: dict[str, Array]) -> dict[str, int]:
        _, _, evaluations = self.latent(theta, data)
        return {"parameters": theta.size, "rhs_evaluations": evaluations, "steps": evaluations // 4}


def sample(config: FlowConfig, theta: Array, noise: Array) -> Array:
    """Carries ``noise`` (B, d) forwards in time, by RK4 steps of +ε: samples (B, d) of the flow's density."""
    potential = POTENTIALS[config.variant](config, theta)
    x, integral = noise, np.zeros(len(noise))
    for _ in range(config.steps):
        x, integral, _ = step(potential, x, integral, -config.time / config.steps)
    return x


def build(config: FlowConfig, method: str) -> Functions:
    flow = Flow(config, method)
    return Functions(flow.value, flow.gradient, flow.outputs, flow.work, engine="hand")
