"""Products with the kernel of the maximum mean discrepancy: Liu, Wang, arXiv:1804.04168."""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy.fft  # keeps float32, as numpy.fft does only from NumPy 2 on

from diffprog.circuits import tables
from diffprog.circuits.states import rotate
from diffprog.spec import Array
from diffprog.tasks.qcbm.problem import QcbmConfig


@cache
def hamming_distances(qubits: int) -> Array:
    """Number of differing bits of all pairs of k-bit words: shape (2ᵏ, 2ᵏ), int64."""
    words = np.arange(2**qubits)
    differing = (words[:, None] ^ words)[..., None] >> np.arange(qubits) & 1
    return np.asarray(differing.sum(axis=-1))


def kernel_product(config: QcbmConfig, sigmas: Array, q: Array) -> Array:
    """K q for q (2ⁿ,), K = Σ_σ exp(−|x−y|²/2σ); the 2ⁿ x 2ⁿ matrix is formed only where the configuration says so."""
    size = len(q)
    if config.kernel == "hamming":
        # exp(−H/2σ) is a product over the bits, hence a Kronecker product: it acts as a layer of rotations does.
        factors = [
            np.exp(-hamming_distances(len(group)).astype(q.dtype) / (2 * sigmas[:, None, None]))
            for group in tables.groups(config.qubits)
        ]
        return np.asarray(rotate(factors, np.broadcast_to(q, (len(sigmas), size))).sum(axis=0))
    column = np.exp(-(np.arange(size, dtype=q.dtype) ** 2) / (2 * sigmas[:, None])).sum(axis=0)
    if config.dense_kernel:
        return np.asarray(column[np.abs(np.arange(size)[:, None] - np.arange(size))] @ q)
    circulant = np.concatenate([column, np.zeros_like(column[:1]), column[:0:-1]])
    spectrum = scipy.fft.rfft(circulant) * scipy.fft.rfft(q, 2 * size)
    return np.asarray(scipy.fft.irfft(spectrum, 2 * size)[:size])
