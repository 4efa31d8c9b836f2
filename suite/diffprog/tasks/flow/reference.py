"""The reference: NumPy, with every derivative written by hand.

The state of a batch is ``x`` of shape (B, d) and the integral of the divergence, shape (B,). RK4 steps of h carry it:
h = −ε takes data backwards in time, h = ε noise forwards. The reverse pass walks the stages in the opposite order.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Protocol

import numpy as np
from scipy.special import expit

from diffprog.spec import Array, Functions
from diffprog.tasks.flow.spec import VARIATIONAL, FlowConfig, layout
from diffprog.tasks.flow.targets import LOG_DENSITY

Tape = tuple[Array, ...]


class Field(Protocol):
    """A right-hand side and its transpose: what a step of RK4 takes, of arrays or of jets (see ``second``)."""

    def rhs(self, x: Array) -> tuple[Array, Array, Tape]:
        """V, ∇²u, and what the transpose needs."""

    def rhs_vjp(self, tape: Tape, v_bar: Array, divergence_bar: Array) -> Array:
        """x̄ from v̄ and the divergence's cotangent."""


class Softplus:
    """u(x) = Σ_j a_j softplus(w_j·x + b_j); arXiv:1809.10188, section 3, with one hidden layer."""

    def __init__(self, config: FlowConfig, theta: Array) -> None:
        parts = layout(config).split(theta)
        self.w, self.b, self.a = parts["W"], parts["b"], parts["a"]
        self.norm2 = np.einsum("hd,hd->h", self.w, self.w)
        self.reset()

    def reset(self) -> None:
        """Forgets the parameters' cotangents."""
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


class LogCosh:
    """u(x) = Σ_j a_j ln cosh(w_j·x): even in x, as a target without a field is; arXiv:1809.10188, section 4.2."""

    def __init__(self, config: FlowConfig, theta: Array) -> None:
        parts = layout(config).split(theta)
        self.w, self.a = parts["W"], parts["a"]
        self.norm2 = np.einsum("hd,hd->h", self.w, self.w)
        self.reset()

    def reset(self) -> None:
        self.w_bar, self.a_bar, self.norm2_bar = np.zeros_like(self.w), np.zeros_like(self.a), np.zeros_like(self.norm2)

    def rhs(self, x: Array) -> tuple[Array, Array, Tape]:
        t = np.tanh(x @ self.w.T)
        return (t * self.a) @ self.w, (1 - t * t) @ (self.a * self.norm2), (x, t)

    def rhs_vjp(self, tape: Tape, v_bar: Array, divergence_bar: Array) -> Array:
        x, t = tape
        dt = 1 - t * t
        g_bar = v_bar @ self.w.T
        t_bar = g_bar * self.a - 2 * np.outer(divergence_bar, self.a * self.norm2) * t
        z_bar = t_bar * dt
        curvature = divergence_bar @ dt
        self.a_bar += np.einsum("bh,bh->h", g_bar, t) + curvature * self.norm2
        self.norm2_bar += curvature * self.a
        self.w_bar += (t * self.a).T @ v_bar + z_bar.T @ x
        x_bar: Array = z_bar @ self.w
        return x_bar

    def gradient(self) -> Array:
        return np.concatenate([(self.w_bar + 2 * self.norm2_bar[:, None] * self.w).ravel(), self.a_bar])


class Quadratic:
    """u(x) = ½ xᵀSx with S = (A + Aᵀ)/2: the potential whose flow is known in closed form."""

    def __init__(self, config: FlowConfig, theta: Array) -> None:
        a = theta.reshape(config.dim, config.dim)
        self.s = (a + a.T) / 2
        self.reset()

    def reset(self) -> None:
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


Potential = Softplus | LogCosh | Quadratic
POTENTIALS: dict[str, type[Potential]] = {
    "density": Softplus,
    "quadratic": Quadratic,
    **dict.fromkeys(VARIATIONAL, LogCosh),
}


def step(potential: Field, x: Array, integral: Array, h: float) -> tuple[Array, Array, list[Tape]]:
    """One RK4 step of h on (x, ∫∇²u |dt|)."""
    k1, g1, t1 = potential.rhs(x)
    k2, g2, t2 = potential.rhs(x + h / 2 * k1)
    k3, g3, t3 = potential.rhs(x + h / 2 * k2)
    k4, g4, t4 = potential.rhs(x + h * k3)
    x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x, integral + abs(h) / 6 * (g1 + 2 * g2 + 2 * g3 + g4), [t1, t2, t3, t4]


def step_vjp(potential: Field, tapes: list[Tape], x_bar: Array, integral_bar: Array, h: float) -> Array:
    """The cotangent of x before the step from that after it; parameters' cotangents are added up in the potential."""
    g = abs(h) / 6 * integral_bar
    x4 = potential.rhs_vjp(tapes[3], h / 6 * x_bar, g)
    x3 = potential.rhs_vjp(tapes[2], h / 3 * x_bar + h * x4, 2 * g)
    x2 = potential.rhs_vjp(tapes[1], h / 3 * x_bar + h / 2 * x3, 2 * g)
    x1 = potential.rhs_vjp(tapes[0], h / 6 * x_bar + h / 2 * x2, g)
    x_bar = x_bar + x4 + x3 + x2 + x1
    return x_bar


def step_back(potential: Potential, x: Array, x_bar: Array, integral_bar: Array, h: float) -> tuple[Array, Array]:
    """One RK4 step of −h on the state and its continuous adjoint: x and its cotangent before the step of h.

    With time counted in the direction of the flow, s = ±1 the sign of h, and q̄ the constant cotangent of the integral,
    dx/dt = s v, dx̄/dt = −(s ∂v/∂x)ᵀx̄ − (∂g/∂x)ᵀq̄ and θ̄ = ∫ (s ∂v/∂θ)ᵀx̄ + (∂g/∂θ)ᵀq̄ dt: Chen et al.,
    arXiv:1806.07366, appendix B. A stage's product is taken with its weight in the step, so that θ̄ is summed in place.
    """
    eps, sign = abs(h), math.copysign(1, h)

    def slopes(x: Array, x_bar: Array, weight: float) -> tuple[Array, Array]:
        v, _, tape = potential.rhs(x)
        return v, potential.rhs_vjp(tape, sign * weight * x_bar, weight * integral_bar) / weight

    k1, l1 = slopes(x, x_bar, eps / 6)
    k2, l2 = slopes(x - h / 2 * k1, x_bar + eps / 2 * l1, eps / 3)
    k3, l3 = slopes(x - h / 2 * k2, x_bar + eps / 2 * l2, eps / 3)
    k4, l4 = slopes(x - h * k3, x_bar + eps * l3, eps / 6)
    return x - h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), x_bar + eps / 6 * (l1 + 2 * l2 + 2 * l3 + l4)


def terminal(config: FlowConfig, x: Array, integral: Array, data: dict[str, Array]) -> tuple[Array, Array, float]:
    """The loss of each sample (B,) in nats, its gradient with respect to x (B, d), and to the integral, ±1.

    Density estimation: −ln p = ∫∇²u dt + |x₀|²/2 + (d/2) ln 2π. Variational: ln p(x) − ln π̃(x) with ln p(x) from
    the noise z that x came from, ln p(x) = −|z|²/2 − (d/2) ln 2π − ∫∇²u dt.
    """
    constant = config.dim / 2 * math.log(2 * math.pi)
    if config.variant not in VARIATIONAL:
        return integral + np.einsum("bd,bd->b", x, x) / 2 + constant, x, 1.0
    z = data["data"]
    log_target, slope = LOG_DENSITY[config.variant](x, data)
    return -integral - np.einsum("bd,bd->b", z, z) / 2 - constant - log_target, -slope, -1.0


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


def outputs(config: FlowConfig, x: Array, integral: Array, data: dict[str, Array]) -> dict[str, Array]:
    """What a flow that ended in x shows.

    Returns:
        ``log_density`` (B,) in nats of the batch, and for density estimation ``latent`` (B, d) and ``bits_per_dim`` ();
        for the variational variants ``samples`` (B, d), ``free_energy`` (B,), each one's loss in nats, and with `ising`
        ``free_energy_per_site`` (), their mean over the number of sites.
    """
    losses, _, _ = terminal(config, x, integral, data)
    if config.variant not in VARIATIONAL:
        bits = (losses - data["log_jacobian"]).mean() / (config.dim * math.log(2))
        return {"latent": x, "log_density": -losses, "bits_per_dim": np.asarray(bits)}
    log_target, _ = LOG_DENSITY[config.variant](x, data)
    found = {"samples": x, "log_density": losses + log_target, "free_energy": losses}
    if config.variant == "ising":
        found["free_energy_per_site"] = np.asarray(losses.mean() / config.dim)
    return found


def build(config: FlowConfig, method: str) -> Functions:
    if method == "library":
        from diffprog.tasks.flow import by_scipy

        return by_scipy.build(config)
    from diffprog.tasks.flow import second  # which is made of this module's steps

    flow = Flow(config, method)
    jvp, hvp = (partial(rule, config) if method == "discrete" else None for rule in (second.jvp, second.hvp))
    return Functions(flow.value, flow.gradient, flow.outputs, flow.work, made_with="hand", jvp=jvp, hvp=hvp)
