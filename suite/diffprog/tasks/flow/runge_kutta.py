"""Steps of RK4 on the state of a batch, x (B, d) and the integral of the divergence (B,), and their adjoints.

Steps of h = −ε take data backwards in time, of h = ε noise forwards.
"""

from __future__ import annotations

import math

from diffprog.spec import Array
from diffprog.tasks.flow.field import Field, Potential, Tape


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
