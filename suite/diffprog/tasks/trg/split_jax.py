"""The truncated SVD in JAX, to be differentiated as often as one likes, in either mode and without poles.

Singular vectors of nearly equal values cannot be differentiated. What the loss needs of them can: along a path of
matrices M = U_k S V_kᵀ + U_⊥ D V_⊥ᵀ with S (k, k) and D diagonal at the point itself but full beside it, so that no
vector need turn within what is kept or within what is dropped. All rules are linear equations whose solutions JAX
differentiates as such; at the point itself they fall apart into single elements.

Matrices carry a batch (n,) in front, as in ``reference``.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from diffprog.tasks.trg import polar_jax
from diffprog.tasks.trg.polar import suits
from diffprog.tasks.trg.problem import ETA

Factors = tuple[Array, Array, Array]
Blocks = tuple[Array, Array, Array, Array]
"""U (n, m, m) = [U_k U_⊥], V (n, m, m), S (n, k, k) and D (n, m−k, m−k)."""


def svd(matrices: Array) -> Factors:
    """U, s and Vᵀ of (n, m, m)."""
    factors: Factors = jax.lax.platform_dependent(matrices, cuda=svd_by_cusolver, default=svd_by_lapack)
    return factors


def svd_by_cusolver(matrices: Array) -> Factors:
    if suits(matrices.shape[-1], matrices.dtype.itemsize):
        return polar_jax.svd(matrices)
    # Jacobi, the default there up to m = 1024, is less accurate.
    factors: Factors = jax.lax.linalg.svd(matrices, algorithm=jax.lax.linalg.SvdAlgorithm.QR)
    return factors


def svd_by_lapack(matrices: Array) -> Factors:
    u, s, vt = jnp.linalg.svd(matrices)

    def transposed() -> Factors:
        # Divide and conquer (gesdd) fails on a few of these graded matrices, and then not on the transposed.
        v, s, ut = jnp.linalg.svd(matrices.mT)
        return ut.mT, s, v.mT

    factors: Factors = jax.lax.cond(jnp.isnan(s).any(), transposed, lambda: (u, s, vt))
    return factors


def diagonal(matrices: Array) -> Array:
    """(n, m) of (n, m, m), and no derivatives."""
    return jax.lax.stop_gradient(jnp.diagonal(matrices, axis1=-2, axis2=-1))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def decompose(matrices: Array, keep: int) -> Blocks:
    u, s, vt = svd(matrices)
    diagonals = jax.vmap(jnp.diag)
    return u, vt.mT, diagonals(s[:, :keep]), diagonals(s[:, keep:])


@decompose.defjvp
def decompose_jvp(keep: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Blocks, Blocks]:
    """With E = UᵀdM V in blocks: dS = E_kk, dD = E_⊥⊥, dU_k = U_⊥ X, dU_⊥ = −U_k Xᵀ, and the same of V with Y."""
    u, v, S, D = decompose(*primals, keep)
    (dM,) = tangents
    (uk, ux), (vk, vx) = jnp.split(u, [keep], axis=-1), jnp.split(v, [keep], axis=-1)
    right = dM @ vk
    X, Y = turns(S, D, ux.mT @ right, vx.mT @ (dM.mT @ uk))
    du = jnp.concatenate([ux @ X, -uk @ X.mT], axis=-1)
    dv = jnp.concatenate([vx @ Y, -vk @ Y.mT], axis=-1)
    return (u, v, S, D), (du, dv, uk.mT @ right, ux.mT @ dM @ vx)


def turns(S: Array, D: Array, below: Array, beside: Array) -> tuple[Array, Array]:
    """X and Y (n, m−k, k) of X S − D Y = ``below`` = E_⊥k and Y Sᵀ − Dᵀ X = ``beside`` = E_k⊥ᵀ.

    For single elements x ± y = (below ± beside)/(s ∓ d), and 1/(s − d) is broadened as in the reverse rule.
    """
    s, d = diagonal(S)[:, None], diagonal(D)[..., None]
    f, g = (s - d) / ((s - d) ** 2 + ETA), 1 / (s + d)

    def equations(turn: tuple[Array, Array]) -> tuple[Array, Array]:
        x, y = turn
        return x @ S - D @ y, y @ S.mT - D.mT @ x

    def inverse(_: object, sides: tuple[Array, Array]) -> tuple[Array, Array]:
        together, apart = f * (sides[0] + sides[1]) / 2, g * (sides[0] - sides[1]) / 2
        return together + apart, together - apart

    found: tuple[Array, Array] = jax.lax.custom_linear_solve(
        equations, (below, beside), inverse, transpose_solve=inverse
    )
    return found


def anticommute(P: Array, E: Array) -> Array:
    """Z of P Z + Z P = E for matrices (n, k, k), P diagonal and positive at the point itself."""
    p = diagonal(P)
    total = p[:, :, None] + p[:, None, :]

    def inverse(_: object, side: Array) -> Array:
        return side / total

    found: Array = jax.lax.custom_linear_solve(lambda z: P @ z + z @ P, E, inverse, transpose_solve=inverse)
    return found


@jax.custom_jvp
def polar(S: Array) -> tuple[Array, Array]:
    """Q and P of S = Q P, Q orthogonal and P symmetric: 1 and S itself where S is diagonal and positive."""
    return jnp.broadcast_to(jnp.eye(S.shape[-1], dtype=S.dtype), S.shape), S


@polar.defjvp
def polar_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """With QᵀdQ = W antisymmetric QᵀdS = W P + dP, and so P W + W P = QᵀdS − dSᵀQ."""
    Q, P = polar(*primals)
    inner = Q.mT @ tangents[0]
    W = anticommute(P, inner - inner.mT)
    return (Q, P), (Q @ W, inner - W @ P)


@jax.custom_jvp
def root(P: Array) -> Array:
    """R = P^½, for P diagonal and positive at the point itself."""
    return jnp.sqrt(P)


@root.defjvp
def root_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """R dR + dR R = dP."""
    R = root(*primals)
    return R, anticommute(R, *tangents)


def split(matrices: Array, keep: int) -> tuple[Array, Array, Array]:
    """M (n, m, m) to A and B (n, m, k), M ≈ ABᵀ, and the k largest singular values (n, k), these for inspection.

    A = U_k Q P^½ and B = V_k P^½ with S = Q P. So AᵀA = BᵀB all along a path, which determines A and B but for A → AO,
    B → BO with O orthogonal: what the loss does not see. At the point itself they are U_k √S and V_k √S.
    """
    u, v, S, _ = decompose(matrices, keep)
    Q, P = polar(S)
    R = root(P)
    return u[..., :keep] @ (Q @ R), v[..., :keep] @ R, diagonal(S)
