"""Memory that this process and a worker share: a file that grows, mapped on both sides."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from suite.interop.errors import BridgeError
from suite.spec import Array

FIRST_BYTES = 2**20
ALIGNMENT = 64
_SHM = Path("/dev/shm")  # noqa: S108 - memory, where there is such a folder; the file's name is random and its mode 0600


class Arena:
    """A file of shared memory. The side that writes it makes it grow; the other maps it again where it has grown."""

    def __init__(self) -> None:
        folder = _SHM if os.access(_SHM, os.W_OK) else None
        self.file, self.path = tempfile.mkstemp(prefix="diffprog-", dir=folder)
        self.capacity = 0
        try:
            self.grow(FIRST_BYTES)
        except BridgeError:
            self.close()
            raise

    def grow(self, capacity: int) -> None:
        """Makes room for ``capacity`` bytes, all of them really there.

        Raises:
            BridgeError: if there is not that much shared memory.
        """
        if capacity <= self.capacity:
            return
        capacity = max(capacity, 2 * self.capacity)
        try:
            # Memory that is promised and not there would kill the process that touches it.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self.file, 0, capacity)
            else:
                os.ftruncate(self.file, capacity)
        except OSError as error:
            raise BridgeError(f"no shared memory is left for {capacity:,} bytes ({error})") from error
        self.follow(capacity)

    def follow(self, capacity: int) -> None:
        """Maps the file again where it has become larger."""
        if capacity > self.capacity:
            self.bytes: Array = np.frombuffer(mmap.mmap(self.file, capacity), dtype=np.uint8)
            self.capacity = capacity

    def place(self, arrays: Sequence[Array | None]) -> list[int]:
        """Copies arrays in, one after the other; returns where each begins."""
        starts, end = [], 0
        for array in arrays:
            starts.append(end)
            if array is not None:
                end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        self.grow(end)
        for start, array in zip(starts, arrays, strict=True):
            if array is not None and array.nbytes:
                np.copyto(self.view(array.dtype, array.shape, start), array)
        return starts

    def view(self, dtype: np.dtype[np.generic], shape: tuple[int, ...], start: int) -> Array:
        """The memory from byte ``start`` as an array, not a copy."""
        count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        return self.bytes[start : start + count].view(dtype).reshape(shape)

    def unlink(self) -> None:
        """Takes its name away, once both sides have it open: then nothing is left behind, however they end."""
        Path(self.path).unlink(missing_ok=True)

    def close(self) -> None:
        self.unlink()
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
