"""The truncated SVD in PyTorch: with a reverse rule of its own, or as a polynomial that any transform goes through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from diffprog.tasks.trg import polar, polar_torch
from diffprog.tasks.trg.problem import ETA

Factors = tuple[Tensor, Tensor, Tensor]


def svd(matrices: Tensor) -> Factors:
    """U, s and Vᵀ of (n, m, m)."""
    if matrices.is_cuda and polar.suits(matrices.shape[-1], matrices.itemsize):
        u, s, vt = polar_torch.svd(matrices)
        return u, s, vt
    driver = "gesvd" if matrices.is_cuda else None  # Jacobi, the default there, is less accurate
    try:
        u, s, vt = torch.linalg.svd(matrices, driver=driver)
        return u, s, vt
    except torch.linalg.LinAlgError:
        # LAPACK's divide and conquer (gesdd) fails on a few of these graded matrices, and then not on the transposed.
        u, s, vt = torch.linalg.svd(matrices.mT, driver=driver)
        return vt.mT, s, u.mT


@torch.library.custom_op("diffprog::svd", mutates_args=())
def opaque_svd(matrices: Tensor) -> Factors:
    """The same, not differentiable, as one operation to a compiler: it could not follow the second attempt."""
    u, s, vt = svd(matrices)
    return u.contiguous(), s.contiguous(), vt.contiguous()


@opaque_svd.register_fake
def _(matrices: Tensor) -> Factors:
    return torch.empty_like(matrices), matrices.new_empty(matrices.shape[:-1]), torch.empty_like(matrices)


class TruncatedSvd(torch.autograd.Function):  # type: ignore[misc]  # mypy takes torch for Any
    """``split`` with the reverse rule alone, which is cheaper than to differentiate the polynomial.

    Backward keeps all of U, s and V: what is dropped mixes into what is kept. ``network.split_vjp`` derives the rule.
    It leaves out what one derivative of the loss does not see, and so must not be differentiated itself.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, matrices: Tensor, keep: int) -> Factors:
        u, s, vt = svd(matrices)
        kept = s[:, :keep]
        root = kept.sqrt().unsqueeze(1)
        ctx.save_for_backward(u, s, vt)
        ctx.mark_non_differentiable(kept)
        return u[..., :keep] * root, vt[:, :keep].mT * root, kept

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, a_bar: Tensor, b_bar: Tensor, _: Tensor) -> tuple[Tensor, None]:
        u, s, vt = ctx.saved_tensors
        k = a_bar.shape[-1]
        kept = s[:, None, :k]
        root = kept.sqrt()
        x, y = u.mT @ a_bar, vt @ b_bar
        together = (x[:, :k] + y[:, :k]) / (2 * (root + root.mT))
        apart = (x[:, :k] - y[:, :k]) * root / (2 * (kept + kept.mT))
        inner = together + together.mT + apart - apart.mT

        dropped = s[:, k:, None]
        d = kept - dropped
        f, g = d / (d * d + ETA), 1 / (kept + dropped)
        x, y = x[:, k:] * root, y[:, k:] * root
        below, right = ((f + g) * x + (f - g) * y) / 2, ((f - g) * x + (f + g) * y) / 2
        uk, vtk = u[..., :k], vt[:, :k]
        return (uk @ inner + u[..., k:] @ below) @ vtk + uk @ (right.mT @ vt[:, k:]), None


def split_once(matrices: Tensor, keep: int) -> Factors:
    """What ``split`` returns, to be differentiated once and in reverse."""
    a, b, s = TruncatedSvd.apply(matrices, keep)
    return a, b, s


def split(matrices: Tensor, keep: int) -> Factors:
    """M (n, m, m) to A = U√S and B = V√S of the k largest singular values, (n, m, k) each, and those values (n, k).

    To be differentiated up to twice, in any mode, by a loss that does not change under A → AO, B → BO with O
    orthogonal, as on the two ends of an inner leg. The singular values come for inspection, as constants.

    A and B are Taylor polynomials of the second degree in δM about M itself: δM is zero, and its derivatives are not.
    About M = U diag(S, D) Vᵀ, with P, Q and Rᵀ the blocks of UᵀδM V above, below and (transposed) to the right, the
    spaces that are kept are spanned by U_k + U_⊥X and V_k + V_⊥Y, where

        X S − D Y = Q − X P + δD Y,    Y S − D X = Rᵀ − Y Pᵀ + δDᵀ X,    δD = U_⊥ᵀ δM V_⊥,

    to be solved twice, X = Y = 0 on the right at first: elementwise, by F = 1/(s_j − d_i), broadened as in the reverse
    rule, and G = 1/(s_j + d_i). In orthonormal bases of them M is S + P + (XᵀQ + RY)/2 = exp(v) W² exp(v) with v
    antisymmetric and W symmetric; A = exp(v) W and B = exp(−v) W in these bases have the gauge AᵀA = BᵀB. No difference
    of two kept or of two dropped values divides anything: these may coincide.
    """
    change = matrices - matrices.detach()
    u, s, vt = opaque_svd(matrices.detach())
    uk, ud, vk, vd = u[..., :keep], u[..., keep:], vt[:, :keep].mT, vt[:, keep:].mT
    kept, dropped = s[:, None, :keep], s[:, keep:, None]
    d = kept - dropped
    f, g = d / (d * d + ETA), 1 / (kept + dropped)

    def solve(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        both, difference = f * (first + second), g * (first - second)
        return (both + difference) / 2, (both - difference) / 2

    across, along = change @ vk, change.mT @ uk
    p, q, r = uk.mT @ across, ud.mT @ across, vd.mT @ along
    x, y = solve(q, r)
    p2 = p + (x.mT @ q + r.mT @ y) / 2
    xx, yy = x.mT @ x, y.mT @ y
    x, y = solve(q - x @ p + ud.mT @ (change @ (vd @ y)), r - y @ p.mT + vd.mT @ (change.mT @ (ud @ x)))

    root = kept.sqrt()
    sums, square_sums = root + root.mT, kept + kept.mT
    symmetric, antisymmetric = (p2 + p2.mT) / 2, (p2 - p2.mT) / 2
    w, v = symmetric / sums, antisymmetric / square_sums
    vv = v @ v
    quadratic = w @ w + (vv * kept + kept.mT * vv) / 2 + (v * kept) @ v
    w2, v2 = w - quadratic / sums, v - (v @ symmetric + symmetric @ v) / square_sums
    even, odd = torch.diag_embed(root[:, 0]) + w2 + vv * root / 2, v2 * root + v @ w
    inner_a, inner_b = even + odd, even - odd
    a = uk @ (inner_a - xx @ inner_a / 2) + ud @ (x @ inner_a)
    b = vk @ (inner_b - yy @ inner_b / 2) + vd @ (y @ inner_b)
    return a, b, s[:, :keep]
