"""How an SVD is made of products and one symmetric eigenproblem, for devices on which a direct one is slow.

With the polar decomposition M = Q H and H = V S Vᵀ, M = (Q V) S Vᵀ. Q is the limit of X ← X (a − b XᵀX): odd
polynomials, which act on each singular value alone. H = sym(QᵀM). A step is two products of matrices, in any batch.

Singular values grow by `GROWTH` a step until all are in [`REACHED`, 1]; then Newton-Schulz (a, b = 3/2, 1/2) brings
them to 1 quadratically. No step shrinks a singular value relative to the largest by more than 1/`REACHED`, which makes
the iteration backward stable (Nakatsukasa, Higham, "Backward stability of iterations for computing the polar
decomposition", SIAM J. Matrix Anal. Appl. 33, 2012): U and V are orthogonal, and U S Vᵀ is M, to some roundings of ‖M‖,
as after QR iteration (gesvd).

Where M is singular, Q is not unique and the iteration would stay at zero: M is first changed by a rounding, ε‖M‖ times
a matrix of full rank, the same on every backend.
"""

from __future__ import annotations

import math

NAME = "cuSOLVER gesvd up to order 64 (float32: 512), beyond by polar decomposition and eigh"
SMALL = {8: 64, 4: 512}
"""Up to these orders, by bytes of a number, QR iteration is the better choice: small matrices are bound by launches,
and PyTorch takes the eigenvectors of float32 ones by Jacobi, orthogonal to 1e-4 only."""
REACHED = 0.3
GROWTH = 2.4
"""a of the first steps; b = a − `REACHED`, so that 1 becomes `REACHED` and nothing more than 1 (0.99 at most)."""
POLISH = 8
"""Newton-Schulz steps from `REACHED` to 1 ± 1e-16."""
MARGIN = 1e6
"""The least singular value of the added matrix is 1/n, within this factor."""


def suits(order: int, itemsize: int) -> bool:
    """Whether the SVD of a matrix on a GPU is to be made this way; one rule for all frameworks."""
    return order > SMALL[itemsize]


def growing(order: int, eps: float) -> int:
    """Steps until the least singular value that there can be, ε/n of the norm, has reached `REACHED`."""
    return math.ceil(math.log(REACHED * MARGIN * order / eps) / math.log(GROWTH))


MULTIPLIERS = (0x85EBCA6B, 0xC2B2AE35)
"""Of MurmurHash3's finalizer h, which makes entry k of the added matrix (n, n): (h(k) / 2³¹ − 1) / √n, in 24 bits."""
