"""Products with the kernel of the maximum mean discrepancy in PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from diffprog.circuits import tables
from diffprog.circuits.states_torch import rotate
from diffprog.tasks.qcbm import kernel
from diffprog.tasks.qcbm.problem import QcbmConfig

HAMMING: dict[tuple[int, torch.device, torch.dtype], tuple[Tensor, ...]] = {}


def hamming(qubits: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Distances of each group's words, kept as ``states_torch.constants`` are."""
    key = qubits, device, dtype
    if key not in HAMMING:
        distances = [kernel.hamming_distances(len(group)) for group in tables.groups(qubits)]
        HAMMING[key] = tuple(torch.as_tensor(one, device=device).to(dtype) for one in distances)
    return HAMMING[key]


def kernel_product(config: QcbmConfig, sigmas: Tensor, q: Tensor) -> Tensor:
    """K q for q (2ⁿ,), K = Σ_σ exp(−|x−y|²/2σ); the 2ⁿ x 2ⁿ matrix is formed only where the configuration says so."""
    size = len(q)
    if config.kernel == "hamming":
        factors = tuple(
            torch.exp(-distances / (2 * sigmas[:, None, None]))
            for distances in hamming(config.qubits, q.device, q.dtype)
        )
        return rotate(factors, q.expand(len(sigmas), size)).sum(dim=0)
    x = torch.arange(size, dtype=q.dtype, device=q.device)
    if config.dense_kernel:
        squares = (x[:, None] - x).square()
        return torch.exp(-squares / (2 * sigmas[:, None, None])).sum(dim=0) @ q
    column = torch.exp(-x.square() / (2 * sigmas[:, None])).sum(dim=0)
    circulant = torch.cat([column, column.new_zeros(1), column[1:].flip(0)])
    spectrum = torch.fft.rfft(circulant) * torch.fft.rfft(q, 2 * size)
    return torch.fft.irfft(spectrum, 2 * size)[:size]
