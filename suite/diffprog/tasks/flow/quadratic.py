"""The exact answer for the quadratic potential u = ½ xᵀSx: value and gradient without integrating anything.

The velocity Sx is linear, so one RK4 step of size −ε multiplies x by R(−εS) with R(z) = 1 + z + z²/2 + z³/6 + z⁴/24
(Hairer, Nørsett, Wanner, *Solving Ordinary Differential Equations I*, II.1), the divergence tr S is constant, and
NLL = T tr S + ½ mean |R(−εS)ᴺ x|² + (d/2) ln 2π. This is exact for the discretised problem, not only as ε → 0.
"""

from __future__ import annotations

import numpy as np

from diffprog.spec import Array


def exact(params: Array, data: Array, steps: int, time: float) -> tuple[float, Array]:
    """The NLL in nats and its gradient with respect to A, where S = (A + Aᵀ)/2.

    Args:
        params: A, flat, shape (d²,).
        data: shape (B, d).
        steps: N.
        time: T.

    Returns:
        The value and the gradient of shape (d²,), both in float64.
    """
    batch, d = data.shape
    a = params.reshape(d, d)
    eigenvalues, q = np.linalg.eigh((a + a.T) / 2)
    z = -(time / steps) * eigenvalues
    growth = 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24
    rotated = data @ q
    moments = rotated.T @ rotated / batch
    value = time * eigenvalues.sum() + (growth ** (2 * steps) * np.diag(moments)).sum() / 2 + d / 2 * np.log(2 * np.pi)

    # ∂/∂S of ½ tr(g(S) C) = ½ Q (g[λi, λj] ∘ QᵀCQ) Qᵀ (Daleckii-Krein), g = R(−ε·)²ᴺ. Its divided differences are
    # written as sums of products, which stay exact where eigenvalues meet.
    y, w = z[:, None], z[None, :]
    slope = 1 + (y + w) / 2 + (y**2 + y * w + w**2) / 6 + (y**3 + y**2 * w + y * w**2 + w**3) / 24
    powers = growth[:, None] ** np.arange(2 * steps)
    divided = -(time / steps) * slope * (powers @ powers[:, ::-1].T)
    gradient = q @ (divided * moments / 2) @ q.T + time * np.eye(d)
    return float(value), ((gradient + gradient.T) / 2).ravel()
