"""Directional derivatives of the flow's loss by hand: L̇ = dL/dθ·v and the tangent of the gradient, d²L/dθ²·v.

A *jet* is a pair (q, q̇) of a quantity and its tangent along θ + t v, stacked in one array with a leading axis of 2.
The steps of ``runge_kutta`` and their transposes are linear combinations of stages, so they take jets as they take
arrays: only the right-hand side and its transpose are written anew. The Hessian product is forward over reverse: every
line of the reverse sweep is differentiated once along v (Pearlmutter, "Fast exact multiplication by the Hessian",
Neural Computation 6, 147, 1994; Griewank, Walther, *Evaluating Derivatives*, 2008, section 5.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit

from diffprog.spec import Array
from diffprog.tasks.flow.field import Field, Tape, terminal
from diffprog.tasks.flow.problem import VARIATIONAL, FlowConfig, layout
from diffprog.tasks.flow.runge_kutta import step, step_vjp
from diffprog.tasks.flow.targets import CURVATURE


def _softplus(z: Array) -> Array:
    return np.asarray(expit(z))


def _softplus_slopes(s: Array) -> tuple[Array, Array, Array]:
    """σ′, σ″ and σ‴ as polynomials in s = σ(z)."""
    slope = s * (1 - s)
    return slope, slope * (1 - 2 * s), slope * (1 - 6 * slope)


def _log_cosh_slopes(t: Array) -> tuple[Array, Array, Array]:
    """The first three derivatives of tanh as polynomials in t = tanh z."""
    slope = 1 - t * t
    return slope, -2 * t * slope, slope * (6 * t * t - 2)


class Hidden:
    """Jets of u(x) = Σ_j a_j φ(w_j·x + b_j) with f = φ′: σ for softplus, tanh for ln cosh, which has no b.

    With z = Wx + b and n_j = |w_j|²: V = Wᵀ(a ∘ f(z)), ∇²u = (a ∘ n)·f′(z). Tangents have a dot, in code ``_dot``.
    """

    def __init__(self, config: FlowConfig, theta: Array, v: Array) -> None:
        parts, dots = layout(config).split(theta), layout(config).split(v)
        self.w, self.w_dot, self.a, self.a_dot = parts["W"], dots["W"], parts["a"], dots["a"]
        none = np.zeros_like(self.a)
        self.biased = "b" in parts
        self.b, self.b_dot = parts.get("b", none), dots.get("b", none)
        self.activation: Callable[[Array], Array] = _softplus if self.biased else np.tanh
        self.slopes = _softplus_slopes if self.biased else _log_cosh_slopes
        self.norm2 = np.einsum("hd,hd->h", self.w, self.w)
        self.norm2_dot = 2 * np.einsum("hd,hd->h", self.w, self.w_dot)
        self.weight = self.a * self.norm2
        self.weight_dot = self.a_dot * self.norm2 + self.a * self.norm2_dot
        # Tangents of the parameters' cotangents; of the cotangents themselves only n̄ is needed, for W̄ = … + 2 n̄ ∘ W.
        self.w_bar_dot, self.b_bar_dot, self.a_bar_dot = np.zeros_like(self.w), none.copy(), none.copy()
        self.norm2_bar, self.norm2_bar_dot = none.copy(), none.copy()

    def rhs(self, x: Array) -> tuple[Array, Array, Tape]:
        """Jets (2, B, d) of V and (2, B) of ∇²u from those of x, (2, B, d)."""
        f = self.activation(x[0] @ self.w.T + self.b)
        z_dot = x[1] @ self.w.T + x[0] @ self.w_dot.T + self.b_dot
        f1, f2, _ = self.slopes(f)
        v_dot = (f1 * z_dot * self.a + f * self.a_dot) @ self.w + (f * self.a) @ self.w_dot
        divergence_dot = (f2 * z_dot) @ self.weight + f1 @ self.weight_dot
        return np.stack([(f * self.a) @ self.w, v_dot]), np.stack([f1 @ self.weight, divergence_dot]), (x, f, z_dot)

    def rhs_vjp(self, tape: Tape, v_bar: Array, divergence_bar: Array) -> Array:
        """The jet (2, B, d) of x̄ from that of v̄, (2, B, d); adds to the parameters'.

        The cotangent of the divergence (B,) is constant: it has no tangent.
        """
        (x, x_dot), f, z_dot = tape
        f1, f2, f3 = self.slopes(f)
        f_dot, f1_dot, f2_dot = f1 * z_dot, f2 * z_dot, f3 * z_dot
        (v_bar, v_bar_dot), g_bar = v_bar, divergence_bar[:, None]
        u, u_dot = v_bar @ self.w.T, v_bar_dot @ self.w.T + v_bar @ self.w_dot.T
        z_bar = u * self.a * f1 + g_bar * self.weight * f2
        z_bar_dot = (
            (u_dot * self.a + u * self.a_dot) * f1
            + u * self.a * f1_dot
            + g_bar * (self.weight_dot * f2 + self.weight * f2_dot)
        )
        curvature, curvature_dot = divergence_bar @ f1, divergence_bar @ f1_dot
        self.a_bar_dot += (u_dot * f + u * f_dot).sum(axis=0) + curvature_dot * self.norm2 + curvature * self.norm2_dot
        self.norm2_bar += curvature * self.a
        self.norm2_bar_dot += curvature_dot * self.a + curvature * self.a_dot
        self.w_bar_dot += (f_dot * self.a + f * self.a_dot).T @ v_bar + (f * self.a).T @ v_bar_dot
        self.w_bar_dot += z_bar_dot.T @ x + z_bar.T @ x_dot
        self.b_bar_dot += z_bar_dot.sum(axis=0)
        return np.stack([z_bar @ self.w, z_bar_dot @ self.w + z_bar @ self.w_dot])

    def gradient_dot(self) -> Array:
        """The tangent (P,) of dL/dθ."""
        w_bar_dot = self.w_bar_dot + 2 * (self.norm2_bar_dot[:, None] * self.w + self.norm2_bar[:, None] * self.w_dot)
        biases = [self.b_bar_dot] if self.biased else []
        return np.concatenate([w_bar_dot.ravel(), *biases, self.a_bar_dot])


class Quadratic:
    """Jets of u(x) = ½ xᵀSx with S = (A + Aᵀ)/2."""

    def __init__(self, config: FlowConfig, theta: Array, v: Array) -> None:
        a, a_dot = (flat.reshape(config.dim, config.dim) for flat in (theta, v))
        self.s, self.s_dot = (a + a.T) / 2, (a_dot + a_dot.T) / 2
        self.s_bar_dot = np.zeros_like(self.s)

    def rhs(self, x: Array) -> tuple[Array, Array, Tape]:
        traces = np.stack([np.trace(self.s), np.trace(self.s_dot)])
        divergence = np.broadcast_to(traces[:, None], x.shape[:2])
        return np.stack([x[0] @ self.s, x[1] @ self.s + x[0] @ self.s_dot]), divergence, (x,)

    def rhs_vjp(self, tape: Tape, v_bar: Array, divergence_bar: Array) -> Array:
        ((x, x_dot),) = tape
        v_bar, v_bar_dot = v_bar
        self.s_bar_dot += x.T @ v_bar_dot + x_dot.T @ v_bar  # the trace's share of S̄ is constant
        return np.stack([v_bar @ self.s, v_bar_dot @ self.s + v_bar @ self.s_dot])

    def gradient_dot(self) -> Array:
        return ((self.s_bar_dot + self.s_bar_dot.T) / 2).ravel()


def jets(config: FlowConfig, theta: Array, v: Array) -> Hidden | Quadratic:
    return (Quadratic if config.variant == "quadratic" else Hidden)(config, theta, v)


def integrate(config: FlowConfig, field: Field, batch: Array, tape: list[list[Tape]] | None = None) -> Any:
    """Jets of the last x (2, B, d) and of the integral (2, B); the stages of all steps go to ``tape``."""
    x = np.stack([batch, np.zeros_like(batch)])
    integral = np.zeros(x.shape[:2], dtype=batch.dtype)
    for _ in range(config.steps):
        x, integral, stages = step(field, x, integral, config.step)
        if tape is not None:
            tape.append(stages)
    return x, integral


def jvp(config: FlowConfig, theta: Array, data: dict[str, Array], v: Array) -> tuple[Any, Any]:
    """L and L̇ = mean(q̄ q̇ + x̄·ẋ), with x̄ and q̄ = ±1 from ``field.terminal``."""
    (x, x_dot), (integral, integral_dot) = integrate(config, jets(config, theta, v), data["data"])
    losses, x_bar, sign = terminal(config, x, integral, data)
    return losses.mean(), (sign * integral_dot + np.einsum("bd,bd->b", x_bar, x_dot)).mean()


def hvp(config: FlowConfig, theta: Array, data: dict[str, Array], v: Array) -> tuple[Any, Array]:
    """L and d²L/dθ²·v (P,): jets through all steps, then the reverse sweep on jets of cotangents."""
    field, tape = jets(config, theta, v), list[list[Tape]]()
    (x, x_dot), (integral, _) = integrate(config, field, data["data"], tape)
    losses, x_bar, sign = terminal(config, x, integral, data)
    x_bar_dot = -CURVATURE[config.variant](x, x_dot, data) if config.variant in VARIATIONAL else x_dot
    bar = np.stack([x_bar, x_bar_dot]) / len(x)
    integral_bar = np.full(len(x), sign / len(x), dtype=theta.dtype)
    while tape:
        bar = step_vjp(field, tape.pop(), bar, integral_bar, config.step)
    return losses.mean(), field.gradient_dot()
