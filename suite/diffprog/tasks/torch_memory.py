"""Memory that calls of an expert's PyTorch use one after another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Kept:
    """Large pieces of the CPU's memory, kept from call to call: a fresh one costs a page fault every 4 KiB.

    A piece belongs to one call at a time, also where calls overlap, and nothing that is returned may lie in it. Memory
    of other devices is fresh: PyTorch's allocators keep it, and know which stream is still using it.
    """

    def __init__(self) -> None:
        self.pieces: list[Tensor] = []

    @contextmanager
    def lent(self, shape: tuple[int, ...], like: Tensor) -> Iterator[Tensor]:
        """Uninitialised, contiguous, of the device and type of ``like``."""
        piece = self.pieces.pop() if self.pieces else None
        wanted = shape, like.dtype, like.device, torch.is_inference_mode_enabled()
        if piece is None or (piece.shape, piece.dtype, piece.device, piece.is_inference()) != wanted:
            piece = like.new_empty(shape)
        yield piece
        if piece.device.type == "cpu" and type(piece) is Tensor:
            self.pieces.append(piece)
