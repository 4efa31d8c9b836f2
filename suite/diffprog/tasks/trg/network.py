"""The network's steps and the transpose of each: what the derivatives in ``reference`` and ``second`` are made of.

A batch of n tensors is (n, D, D, D, D) with legs up, left, down, right; matrices and factors carry the batch in front.

Sources: Levin, Nave, cond-mat/0611687 (the algorithm); Townsend, "Differentiating the singular value decomposition",
2016 (the rule, see ``split_vjp``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

from diffprog.spec import Array, Arrays
from diffprog.tasks.trg.lattice import Step
from diffprog.tasks.trg.problem import ETA

Svd = tuple[Array, Array, Array]
"""U (n, m, m), s (n, m) and V (n, m, m), nothing cut off, of matrices (n, m, m) = U diag(s) Vᵀ."""
Split = Callable[[Array, int], tuple[Array, Array, Svd]]
Contract = Callable[[str, Array, Array], Array]


def transpose(matrices: Array) -> Array:
    return matrices.swapaxes(-1, -2)


def contract(subscripts: str, a: Array, b: Array) -> Array:
    """``np.einsum`` of two arrays as one batched matrix product: einsum itself would not call BLAS here."""
    inputs, _, result = subscripts.partition("->")
    left, right = inputs.split(",")
    batch = [i for i in left if i in right and i in result]
    summed = [i for i in left if i in right and i not in result]
    rows, columns = ([i for i in indices if i not in batch + summed] for indices in (left, right))
    size = dict(zip(left + right, a.shape + b.shape, strict=True))

    def matrices(array: Array, indices: str, *groups: list[str]) -> Array:
        moved = array.transpose([indices.index(i) for group in (batch, *groups) for i in group])
        return moved.reshape(
            *(size[i] for i in batch), *(np.prod([size[i] for i in group], dtype=int) for group in groups)
        )

    product = matrices(a, left, rows, summed) @ matrices(b, right, summed, columns)
    order = batch + rows + columns
    return product.reshape([size[i] for i in order]).transpose([order.index(i) for i in result])


def svd(matrices: Array) -> Svd:
    """The full SVD of (n, m, m)."""
    try:
        u, s, vt = np.linalg.svd(matrices)
    except np.linalg.LinAlgError:
        # Divide and conquer (gesdd) fails on one in thousands of these graded matrices; QR iteration (gesvd) does not.
        parts = [scipy.linalg.svd(matrix, lapack_driver="gesvd") for matrix in matrices]
        u, s, vt = (np.stack(part) for part in zip(*parts, strict=True))
    return u, s, transpose(vt)


def split(matrices: Array, keep: int) -> tuple[Array, Array, Svd]:
    """A = U√S and B = V√S of the ``keep`` largest singular values, (n, m, keep) each: M ≈ ABᵀ. And the full SVD."""
    u, s, v = svd(matrices)
    root = np.sqrt(s[:, None, :keep])
    return u[..., :keep] * root, v[..., :keep] * root, (u, s, v)


def split_vjp(factors: Svd, a_bar: Array, b_bar: Array) -> Array:
    """The cotangent of M (n, m, m) from those of A and B, (n, m, k): the SVD's reverse rule, where it is used.

    With P = UᵀdM V the textbook rule for the full SVD divides by s_j − s_i, and is contracted here with cotangents that
    vanish beyond column k. Two kinds of pairs (i, j) are left.

    Both kept. The loss does not change under A → AO, B → BO with O orthogonal: a change of basis on an inner leg. So
    the part of dA, dB that is such a rotation may be chosen freely. The textbook's choice has the pole at s_i = s_j;
    UᵀdA + VᵀdB = (P + Pᵀ)/(√s_i + √s_j) is another and has none. UᵀdA − VᵀdB = √s_j (P − Pᵀ)/(s_i + s_j) in both.

    One kept (j), one dropped (i). F = 1/(s_j − s_i), G = 1/(s_i + s_j), F broadened to d/(d² + η).

    U and V are square, so that the terms (1 − UUᵀ) and (1 − VVᵀ) of the rule vanish.
    """
    u, s, v = factors
    k = a_bar.shape[-1]
    kept, root = s[:, None, :k], np.sqrt(s[:, None, :k])
    x, y = transpose(u) @ a_bar, transpose(v) @ b_bar
    together = (x[:, :k] + y[:, :k]) / (2 * (root + transpose(root)))
    apart = (x[:, :k] - y[:, :k]) * root / (2 * (kept + transpose(kept)))
    inner = together + transpose(together) + apart - transpose(apart)

    dropped = s[:, k:, None]
    d = kept - dropped
    f, g = d / (d * d + s.dtype.type(ETA)), 1 / (kept + dropped)
    x, y = x[:, k:] * root, y[:, k:] * root
    below, right = ((f + g) * x + (f - g) * y) / 2, ((f - g) * x + (f + g) * y) / 2
    # U N Vᵀ with N = [[inner, rightᵀ], [below, 0]]: of order m²k, where the SVD itself is of order m³.
    uk, vk = u[..., :k], v[..., :k]
    return np.asarray((uk @ inner + u[..., k:] @ below) @ transpose(vk) + uk @ transpose(v[..., k:] @ right))


def initial(couplings: Array) -> Array:
    """The spins' tensors (n, 2, 2, 2, 2) from the couplings (n, 4) of their bonds up, left, down, right, all > 0.

    T_ijkl = ½ √(λ_i λ_j λ_k λ_l) where i+j+k+l is even, else 0; λ₀ = 2 cosh K, λ₁ = 2 sinh K of each bond's own K.
    """
    q = np.sqrt(2 * np.stack([np.cosh(couplings), np.sinh(couplings)], axis=-1))
    tensors = np.einsum("ni,nj,nk,nl->nijkl", *q.swapaxes(0, 1)) / 2
    tensors[:, np.indices((2, 2, 2, 2)).sum(axis=0) % 2 == 1] = 0
    return np.asarray(tensors)


def initial_vjp(couplings: Array, tensors: Array, t_bar: Array) -> Array:
    """The cotangent of the couplings (n, 4): ∂T/∂K = ½ tanh K · T where the leg is 0, ½ coth K · T where it is 1."""
    weights = np.stack([np.tanh(couplings), 1 / np.tanh(couplings)], axis=-1) / 2
    shares = [(t_bar * tensors).sum(axis=tuple({1, 2, 3, 4} - {leg})) for leg in (1, 2, 3, 4)]
    return np.asarray((np.stack(shares, axis=1) * weights).sum(axis=-1))


def to_matrices(tensors: Array, step: Step) -> Array:
    """(ul|dr) of the tensors on A, then (ld|ur) of those on B: shape (2 half, D², D²)."""
    a, b = tensors[: step.half], tensors[-step.half :].transpose(0, 2, 3, 1, 4)
    return np.concatenate([a, b]).reshape(2 * step.half, step.dim**2, step.dim**2)


def to_matrices_vjp(m_bar: Array, step: Step) -> Array:
    a_bar, b_bar = m_bar.reshape(2, step.half, *[step.dim] * 4)
    b_bar = b_bar.transpose(0, 3, 1, 2, 4)
    return a_bar + b_bar if step.sites == 1 else np.concatenate([a_bar, b_bar])


def corners(left: Array, right: Array, table: Array, step: Step) -> tuple[Array, ...]:
    """S1 … S4 of every plaquette, (half, D, D, χ) each, from the factors (2 half, D², χ) of all matrices."""
    top_left, top_right, bottom_left, bottom_right = table
    shape = (step.half, step.dim, step.dim, step.keep)
    s1, s2 = left[: step.half][bottom_right], left[step.half :][top_right]
    s3, s4 = right[: step.half][top_left], right[step.half :][bottom_left]
    return s1.reshape(shape), s2.reshape(shape), s3.reshape(shape), s4.reshape(shape)


def corners_vjp(cotangents: tuple[Array, ...], table: Array, step: Step) -> tuple[Array, Array]:
    s1, s2, s3, s4 = (s.reshape(step.half, step.dim**2, step.keep) for s in cotangents)
    # Each factor belongs to one plaquette: the tables' rows are permutations.
    back1, back2, back3, back4 = (np.argsort(row) for row in (table[3], table[1], table[0], table[2]))
    return np.concatenate([s1[back1], s2[back2]]), np.concatenate([s3[back3], s4[back4]])


def pairs(s: tuple[Array, ...], contract: Contract) -> tuple[Array, Array]:
    """P_ulwy = Σ_x S2_xwu S3_yxl and Q_wydr = Σ_z S4_yzd S1_wzr."""
    return contract("nxwu,nyxl->nulwy", s[1], s[2]), contract("nyzd,nwzr->nwydr", s[3], s[0])


def pairs_vjp(s: tuple[Array, ...], p_bar: Array, q_bar: Array) -> tuple[Array, ...]:
    s1, s2, s3, s4 = s
    return (
        contract("nwydr,nyzd->nwzr", q_bar, s4),
        contract("nulwy,nyxl->nxwu", p_bar, s3),
        contract("nulwy,nxwu->nyxl", p_bar, s2),
        contract("nwydr,nwzr->nyzd", q_bar, s1),
    )


Tape = tuple[Step, Array, Array, Svd, tuple[Array, ...]]
"""Of one step: the scales of its tensors, its columns of the table, the SVDs, and S1 … S4."""


def coarse_grain(
    plan: tuple[Step, ...], tensors: Array, data: Arrays, *, split: Split = split, contract: Contract = contract
) -> tuple[Any, Any, list[Tape]]:
    """Ln Z per site, the trace of the last tensor, and what a reverse pass needs of each step."""
    value: Any = tensors.dtype.type(0)
    tapes: list[Tape] = []
    for step, weight in zip(plan, data["weights"], strict=False):
        scale = np.abs(tensors).max(axis=(1, 2, 3, 4), keepdims=True)
        value += weight * np.log(scale).mean()
        left, right, factors = split(to_matrices(tensors / scale, step), step.keep)
        table = data["plaquettes"][:, step.columns]
        s = corners(left, right, table, step)
        tensors = contract("nulwy,nwydr->nuldr", *pairs(s, contract))
        tapes.append((step, scale, table, factors, s))
    trace = np.einsum("nxyxy->", tensors)
    return value + data["weights"][-1] * np.log(trace), trace, tapes
