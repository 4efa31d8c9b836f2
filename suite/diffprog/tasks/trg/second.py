"""Directional derivatives of ln Z / N by hand: L̇ = dL/dθ·v and the tangent of the gradient, d²L/dθ²·v.

Everything along θ + t v: tangents have a dot, in code ``_dot``. The Hessian product is forward over reverse: every line
of the forward and of the reverse sweep of ``reference`` is differentiated once. All of it is bilinear but the split.

**The split along a path.** U and V of the SVD have poles where singular values meet, so the blocks of kept (k) and
dropped (⊥) columns are followed instead, as spaces. With U = (U_k U_⊥) and V = (V_k V_⊥) orthogonal,

    M = U_k S V_kᵀ + U_⊥ D V_⊥ᵀ,   A = U_k H,   B = V_k H,   S = H²,

where S and H stay symmetric and D is any matrix; all three are diagonal at t = 0 only. The bases may turn with

    U̇_k = U_k Ω + U_⊥ X,   V̇_k = −V_k Ω + V_⊥ Y,   U̇_⊥ = −U_k Xᵀ,   V̇_⊥ = −V_k Yᵀ,   Ω = −Ωᵀ:

nothing turns within the dropped spaces, and what turns in the kept ones is what keeps S symmetric. The loss sees A and
B up to a common rotation only, so this choice is as good as any. With E = UᵀṀV, in blocks, Ṁ is met by

    ΩS + SΩ = (E_kk − E_kkᵀ)/2,   Ṡ = (E_kk + E_kkᵀ)/2,   ḢH + HḢ = Ṡ,   Ḋ = E_⊥⊥,
    (XS − DY, YS − DᵀX) = (E_⊥k, E_k⊥ᵀ).

These are Sylvester equations, self-adjoint in the last line too. At t = 0 they are solved element by element with
s_i + s_j, √s_i + √s_j, and s_j ± d_i, the last difference broadened as in the gradient: no pole among kept values.

**The rule along a path.** The cotangent is M̄ = U Ē Vᵀ. With x = UᵀĀ and y = VᵀB̄ (rows k and ⊥) its blocks solve the
transposed equations, which are the same ones (``network.split_vjp`` is their solution at t = 0):

    Ē_kk = Z + W,   ZH + HZ = sym(x_k + y_k),   WS + SW = skew((x_k − y_k)H),
    Ē_⊥k = a,   Ē_k⊥ = bᵀ,   (aS − Db, bS − Dᵀa) = (x_⊥H, y_⊥H),   Ē_⊥⊥ = 0.

An unknown's tangent solves the same equation, with the tangent of the right side less that of the coefficients:
ŻH + HŻ = sym(ẋ_k + ẏ_k) − ZḢ − ḢZ and so on. Then M̄̇ = U(Ē̇ + Θ_U Ē − Ē Θ_V)Vᵀ, where U̇ = U Θ_U and V̇ = V Θ_V.

Sources: Griewank, Walther, *Evaluating Derivatives*, 2008, section 5.1 (forward over reverse); Higham, *Functions of
Matrices*, 2008, section 6.1 (the derivative of a square root as a Sylvester equation); Stewart, Sun, *Matrix
Perturbation Theory*, 1990, section V.4 (X and Y: how singular subspaces move).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from diffprog.spec import Array, Arrays
from diffprog.tasks.trg.lattice import Step
from diffprog.tasks.trg.network import (
    Svd,
    contract,
    corners,
    corners_vjp,
    initial,
    initial_vjp,
    pairs,
    pairs_vjp,
    split,
    to_matrices,
    to_matrices_vjp,
    transpose,
)
from diffprog.tasks.trg.problem import ETA

Plan = tuple[Step, ...]
Pair = tuple[Array, Array]


def symmetric(a: Array) -> Array:
    return np.asarray((a + transpose(a)) / 2)


def skew(a: Array) -> Array:
    return np.asarray((a - transpose(a)) / 2)


class Blocks:
    """Of the SVDs of (n, m, m) matrices cut to k: bases and values at t = 0, and the Sylvester equations' solutions."""

    def __init__(self, factors: Svd, keep: int) -> None:
        u, s, v = factors
        self.uk, self.u_, self.vk, self.v_ = u[..., :keep], u[..., keep:], v[..., :keep], v[..., keep:]
        self.s = s[:, None, :keep]
        self.h = np.sqrt(self.s)
        dropped = s[:, keep:, None]
        d = self.s - dropped
        self.f, self.g = d / (d * d + s.dtype.type(ETA)), 1 / (self.s + dropped)

    def over_s(self, right: Array) -> Array:
        """Z of ZS + SZ = right, (n, k, k)."""
        return np.asarray(right / (self.s + transpose(self.s)))

    def over_h(self, right: Array) -> Array:
        """Z of ZH + HZ = right, (n, k, k)."""
        return np.asarray(right / (self.h + transpose(self.h)))

    def across(self, x: Array, y: Array) -> Pair:
        """A and b of aS − Db = x and bS − Dᵀa = y, (n, m − k, k) all: their sum and difference decouple."""
        return ((self.f + self.g) * x + (self.f - self.g) * y) / 2, ((self.f - self.g) * x + (self.f + self.g) * y) / 2


class Motion(NamedTuple):
    """How the blocks of a split move along the path: Ṁ (n, m, m), and the tangents of the module's head."""

    blocks: Blocks
    m_dot: Array
    omega: Array
    s_dot: Array
    h_dot: Array
    x: Array
    y: Array


def split_jvp(factors: Svd, m_dot: Array, keep: int) -> tuple[Array, Array, Motion]:
    """Ȧ and Ḃ (n, m, k) of ``network.split`` from Ṁ (n, m, m), with what moves them."""
    at = Blocks(factors, keep)
    right, left = m_dot @ at.vk, transpose(m_dot) @ at.uk  # of order m²k, as all of this is: E_⊥⊥ is never formed
    inner = transpose(at.uk) @ right
    omega, s_dot = at.over_s(skew(inner)), symmetric(inner)
    h_dot = at.over_h(s_dot)
    x, y = at.across(transpose(at.u_) @ right, transpose(at.v_) @ left)
    a_dot = at.uk @ (omega * at.h + h_dot) + at.u_ @ (x * at.h)
    b_dot = at.vk @ (h_dot - omega * at.h) + at.v_ @ (y * at.h)
    return a_dot, b_dot, Motion(at, m_dot, omega, s_dot, h_dot, x, y)


def split_vjp_jvp(motion: Motion, bars: Pair, bar_dots: Pair) -> Pair:
    """M̄ and its tangent (n, m, m) from Ā, B̄ and their tangents (n, m, k)."""
    at, m_dot, omega, s_dot, h_dot, x_move, y_move = motion
    (a_bar, b_bar), (a_bar_dot, b_bar_dot) = bars, bar_dots
    xk, x_, yk, y_ = (
        transpose(at.uk) @ a_bar,
        transpose(at.u_) @ a_bar,
        transpose(at.vk) @ b_bar,
        transpose(at.v_) @ b_bar,
    )
    # ẋ = UᵀĀ̇ + Θ_UᵀUᵀĀ, by blocks; the same for ẏ, where Ω has the other sign.
    xk_dot = transpose(at.uk) @ a_bar_dot - omega @ xk + transpose(x_move) @ x_
    x__dot = transpose(at.u_) @ a_bar_dot - x_move @ xk
    yk_dot = transpose(at.vk) @ b_bar_dot + omega @ yk + transpose(y_move) @ y_
    y__dot = transpose(at.v_) @ b_bar_dot - y_move @ yk

    z = at.over_h(symmetric(xk + yk))
    z_dot = at.over_h(symmetric(xk_dot + yk_dot) - z @ h_dot - h_dot @ z)
    w = at.over_s(skew((xk - yk) * at.h))
    w_dot = at.over_s(skew((xk_dot - yk_dot) * at.h + (xk - yk) @ h_dot) - w @ s_dot - s_dot @ w)
    a, b = at.across(x_ * at.h, y_ * at.h)
    a_dot, b_dot = at.across(
        x__dot * at.h + x_ @ h_dot - a @ s_dot + transpose(at.u_) @ (m_dot @ (at.v_ @ b)),  # Ḋb
        y__dot * at.h + y_ @ h_dot - b @ s_dot + transpose(at.v_) @ (transpose(m_dot) @ (at.u_ @ a)),  # Ḋᵀa
    )
    inner, inner_dot = z + w, z_dot + w_dot
    # Θ_U Ē − Ē Θ_V by blocks, with Θ_U = [[Ω, −Xᵀ], [X, 0]] and Θ_V = [[−Ω, −Yᵀ], [Y, 0]].
    inner_dot = inner_dot + omega @ inner + inner @ omega - transpose(x_move) @ a - transpose(b) @ y_move
    a_dot = a_dot + x_move @ inner + a @ omega
    b_dot = b_dot + y_move @ transpose(inner) - b @ omega
    a, b = at.u_ @ a, at.v_ @ b
    m_bar = (at.uk @ inner + a) @ transpose(at.vk) + at.uk @ transpose(b)
    m_bar_dot = (at.uk @ inner_dot + at.u_ @ a_dot) @ transpose(at.vk) + at.uk @ transpose(at.v_ @ b_dot)
    return m_bar, m_bar_dot + (at.u_ @ x_move) @ transpose(b) + a @ transpose(at.v_ @ y_move)


def initial_jvp(couplings: Array, couplings_dot: Array, tensors: Array) -> Array:
    """Ṫ (n, 2, 2, 2, 2) of ``network.initial``: each leg multiplies T by ½ tanh K · K̇ or ½ coth K · K̇."""
    rates = np.stack([np.tanh(couplings), 1 / np.tanh(couplings)], axis=-1) / 2 * couplings_dot[..., None]
    u, left, d, r = rates.swapaxes(0, 1)
    legs = (u[:, :, None, None, None], left[:, None, :, None, None], d[:, None, None, :, None], r[:, None, None, None])
    return np.asarray(tensors * sum(legs))


def initial_vjp_jvp(couplings: Array, couplings_dot: Array, tensors: Pair, t_bar: Pair) -> Array:
    """The tangent (n, 4) of ``network.initial_vjp``, of jets of T and T̄."""
    weights_dot = np.stack([1 / np.cosh(couplings) ** 2, -1 / np.sinh(couplings) ** 2], axis=-1) / 2
    shares = np.stack([(t_bar[0] * tensors[0]).sum(axis=tuple({1, 2, 3, 4} - {leg})) for leg in (1, 2, 3, 4)], axis=1)
    fixed = initial_vjp(couplings, tensors[0], t_bar[1]) + initial_vjp(couplings, tensors[1], t_bar[0])
    return np.asarray(fixed + couplings_dot * (shares * weights_dot).sum(axis=-1))


Corners = tuple[Array, ...]
Tape = tuple[Step, Array, Array, Array, Motion, Corners, Corners]
"""Of one step: scales and their rates, its columns of the table, how the splits move, S1 … S4 and their tangents."""


def pairs_jvp(s: Corners, s_dot: Corners) -> Pair:
    """Ṗ and Q̇ of ``network.pairs``, products of S2 and S3 and of S4 and S1: one factor moves, then the other."""
    one, other = pairs((s_dot[0], s_dot[1], s[2], s[3]), contract), pairs((s[0], s[1], s_dot[2], s_dot[3]), contract)
    return one[0] + other[0], one[1] + other[1]


def coarse_grain_jvp(plan: Plan, tensors: Pair, data: Arrays, tapes: list[Tape] | None) -> tuple[Any, Any, Pair]:
    """Ln Z per site, its tangent, and the trace of the last tensor with its own.

    Ln Z does not see the scales m, whose path may be chosen: ṁ/m = T·Ṫ/T·T takes out of Ṫ what is along T. That share
    is the energy of all sites so far: left in, a second derivative ⟨E²⟩ − ⟨E⟩², of order N, would be a difference of
    two numbers of order N², and lose as many digits as N has (2²⁰ sites in ``classic``).
    """
    t, t_dot = tensors
    loss: Any = t.dtype.type(0)
    loss_dot: Any = t.dtype.type(0)
    for step, weight in zip(plan, data["weights"], strict=False):
        scale = np.abs(t).max(axis=(1, 2, 3, 4), keepdims=True)
        t, t_dot = t / scale, t_dot / scale
        rate = (t * t_dot).sum(axis=(1, 2, 3, 4), keepdims=True) / (t * t).sum(axis=(1, 2, 3, 4), keepdims=True)
        t_dot = t_dot - rate * t
        loss, loss_dot = loss + weight * np.log(scale).mean(), loss_dot + weight * rate.mean()
        left, right, factors = split(to_matrices(t, step), step.keep)
        left_dot, right_dot, motion = split_jvp(factors, to_matrices(t_dot, step), step.keep)
        table = data["plaquettes"][:, step.columns]
        s, s_dot = corners(left, right, table, step), corners(left_dot, right_dot, table, step)
        (p, q), (p_dot, q_dot) = pairs(s, contract), pairs_jvp(s, s_dot)
        t = contract("nulwy,nwydr->nuldr", p, q)
        t_dot = contract("nulwy,nwydr->nuldr", p_dot, q) + contract("nulwy,nwydr->nuldr", p, q_dot)
        if tapes is not None:
            tapes.append((step, scale, rate, table, motion, s, s_dot))
    trace, trace_dot = np.einsum("nxyxy->", t), np.einsum("nxyxy->", t_dot)
    weight = data["weights"][-1]
    return loss + weight * np.log(trace), loss_dot + weight * trace_dot / trace, (trace, trace_dot)


def step_vjp_jvp(tape: Tape, t_bar: Array, t_bar_dot: Array) -> Pair:
    """T̄ and its tangent before a step from those after it."""
    step, scale, rate, table, motion, s, s_dot = tape
    (p, q), (p_dot, q_dot) = pairs(s, contract), pairs_jvp(s, s_dot)

    def products_vjp(t_bar: Array, p: Array, q: Array) -> Pair:
        return contract("nuldr,nwydr->nulwy", t_bar, q), contract("nulwy,nuldr->nwydr", p, t_bar)

    p_bar, q_bar = products_vjp(t_bar, p, q)
    moved, along = products_vjp(t_bar_dot, p, q), products_vjp(t_bar, p_dot, q_dot)
    p_bar_dot, q_bar_dot = moved[0] + along[0], moved[1] + along[1]
    bars = pairs_vjp(s, p_bar, q_bar)
    halves = zip(pairs_vjp(s, p_bar_dot, q_bar_dot), pairs_vjp(s_dot, p_bar, q_bar), strict=True)
    bar_dots = tuple(first + second for first, second in halves)
    m_bars = split_vjp_jvp(motion, corners_vjp(bars, table, step), corners_vjp(bar_dots, table, step))
    t_bar, t_bar_dot = (to_matrices_vjp(bar, step) / scale for bar in m_bars)
    return t_bar, t_bar_dot - rate * t_bar


def jvp(plan: Plan, theta: Array, data: Arrays, v: Array) -> tuple[Any, Any]:
    """L and dL/dθ·v."""
    couplings, couplings_dot = theta[data["bonds"]], v[data["bonds"]]
    spins = initial(couplings)
    spins_dot = initial_jvp(couplings, couplings_dot, spins)
    return coarse_grain_jvp(plan, (spins, spins_dot), data, None)[:2]


def hvp(plan: Plan, theta: Array, data: Arrays, v: Array) -> tuple[Any, Array]:
    """L and d²L/dθ²·v (P,)."""
    couplings, couplings_dot = theta[data["bonds"]], v[data["bonds"]]
    spins = initial(couplings)
    jet, tapes = (spins, initial_jvp(couplings, couplings_dot, spins)), list[Tape]()
    loss, _, (trace, trace_dot) = coarse_grain_jvp(plan, jet, data, tapes)
    i = np.arange(plan[-1].keep)
    t_bar, t_bar_dot = np.zeros((2, 1, *[len(i)] * 4), theta.dtype)
    diagonal = (slice(None), i[:, None], i, i[:, None], i)
    t_bar[diagonal] = data["weights"][-1] / trace
    t_bar_dot[diagonal] = -data["weights"][-1] * trace_dot / trace**2
    while tapes:
        t_bar, t_bar_dot = step_vjp_jvp(tapes.pop(), t_bar, t_bar_dot)
    product = np.zeros_like(theta)
    np.add.at(product, data["bonds"], initial_vjp_jvp(couplings, couplings_dot, jet, (t_bar, t_bar_dot)))
    return loss, product
