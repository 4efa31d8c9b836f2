"""The right-hand sides of the flow and their transposes, the loss of where it ends, and what is shown of that.

The state of a batch is ``x`` of shape (B, d) and the integral of the divergence, shape (B,).
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from scipy.special import expit

from diffprog.spec import Array
from diffprog.tasks.flow.problem import VARIATIONAL, FlowConfig, layout
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
