"""The SVD by a polar decomposition in PyTorch; see ``polar``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from diffprog.tasks.trg import polar


@contextmanager
def unrounded() -> Iterator[None]:
    """Products in full float32, also in cells of TF32: a decomposition is none that may be rounded."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def full_rank(order: int, like: Tensor) -> Tensor:
    """(m, m), entries between ±1/√m, as if at random."""
    k = torch.arange(order * order, device=like.device)
    for shift, multiplier in zip((16, 13), polar.MULTIPLIERS, strict=True):
        k = (k ^ (k >> shift)) * multiplier & 0xFFFFFFFF
    k = (k ^ (k >> 16)) >> 8  # 24 bits: exact in float32
    return ((k.to(like.dtype) / 2**23 - 1) / math.sqrt(order)).view(order, order)


@torch.no_grad()
def svd(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, s and Vᵀ of (n, m, m), not differentiable."""
    order, eps = matrices.shape[-1], torch.finfo(matrices.dtype).eps
    with unrounded():
        x = matrices / torch.linalg.matrix_norm(matrices, keepdim=True) + eps * full_rank(order, matrices)
        for _ in range(polar.growing(order, eps)):
            x = torch.baddbmm(x, x, x.mT @ x, beta=polar.GROWTH, alpha=polar.REACHED - polar.GROWTH)
        for _ in range(polar.POLISH):
            x = torch.baddbmm(x, x, x.mT @ x, beta=1.5, alpha=-0.5)
        h = x.mT @ matrices
        s, v = torch.linalg.eigh((h + h.mT) / 2)
        v = v.flip(-1)
        return x @ v, s.flip(-1).abs(), v.mT
