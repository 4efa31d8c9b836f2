"""Memory that this process and a worker share: a file that grows, mapped on both sides."""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from diffprog.interop.errors import BridgeError
from diffprog.run import free_memory
from diffprog.spec import Array

FIRST_BYTES = 2**20
ALIGNMENT = 64
_SHM = Path("/dev/shm")  # noqa: S108 - memory, where there is such a folder; the file's name is random and its mode 0600
_NO_FALLOCATE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def _file_in(folder: str | Path) -> tuple[int, str]:
    return tempfile.mkstemp(prefix="diffprog-", dir=folder)


def _file_in_temporary_folder() -> tuple[int, str]:
    return _file_in(tempfile.gettempdir())


def _file_in_shm() -> tuple[int, str]:
    if not os.access(_SHM, os.W_OK):
        raise FileNotFoundError(errno.ENOENT, "cannot be written", str(_SHM))
    return _file_in(_SHM)


def _file_without_folder() -> tuple[int, str]:
    """Memory of the kernel's, which no folder's size limits; the other side opens it by this process's table."""
    if not hasattr(os, "memfd_create"):
        raise FileNotFoundError(errno.ENOSYS, "this system has no memfd_create")
    file = os.memfd_create("diffprog")
    path = f"/proc/{os.getpid()}/fd/{file}"
    if not os.access(path, os.R_OK | os.W_OK):
        os.close(file)
        raise FileNotFoundError(errno.ENOENT, "cannot be opened", path)
    return file, path


PLACES: tuple[tuple[Callable[[], tuple[int, str]], bool], ...] = (
    (_file_in_shm, True),
    (_file_without_folder, True),
    (_file_in_temporary_folder, False),
    (lambda: _file_in("/var/tmp"), False),  # noqa: S108 - as in _SHM
)
"""Where a file may be, by preference, and whether that is memory, not a disk.

A container's /dev/shm is often small, and there may be no temporary folder.
"""


def _reserve(file: int, present: int, capacity: int, in_memory: bool) -> None:
    """Makes a file so large. Memory that is promised and not there would kill the process that touches it."""
    try:
        if in_memory and capacity - present > free_memory.available():  # a control group would kill, not refuse
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file, 0, capacity)
                return
            except OSError as error:
                if error.errno not in _NO_FALLOCATE:
                    raise
        zeros = bytes(min(2**20, capacity - present))
        for start in range(present, capacity, len(zeros)):
            os.pwrite(file, zeros[: capacity - start], start)
        if os.fstat(file).st_size < capacity:
            raise OSError(errno.ENOSPC, "the file was written in part")
    except OSError:
        os.ftruncate(file, present)  # what there was of it is given back
        raise


class Arena:
    """A file of shared memory that this process makes grow; the other side maps it again where it has grown.

    Where its place has no room for more, it moves on to the next of `PLACES`: its ``path`` is then another.
    """

    def __init__(self) -> None:
        self.file, self.path, self.capacity = -1, "", 0
        self.bytes: Array = np.empty(0, dtype=np.uint8)
        self._places, self._in_memory = iter(PLACES), True
        try:
            self._move(FIRST_BYTES)
        except BaseException:
            self.close()
            raise

    def grow(self, capacity: int) -> None:
        """Makes room for ``capacity`` bytes, all of them really there.

        Raises:
            BridgeError: if there is not that much memory in any place; what there was stays as it is.
        """
        if capacity <= self.capacity:
            return
        for size in (max(capacity, 2 * self.capacity), capacity):
            try:
                _reserve(self.file, self.capacity, size, self._in_memory)
            except OSError:
                continue
            self._map(size)
            return
        self._move(capacity)

    def _move(self, capacity: int) -> None:
        """To the first of the places left that has room. What is in the memory is not taken along."""
        told: list[str] = []
        for place, in_memory in self._places:
            file = -1
            try:
                file, path = place()
                _reserve(file, 0, capacity, in_memory)
            except OSError as error:  # of no room, no such folder, no right to it
                told.append(str(error))
                if file >= 0:
                    os.close(file)
                    _remove(path)
                continue
            self.close()
            self.file, self.path, self._in_memory = file, path, in_memory
            self._map(capacity)
            return
        self._places = iter(PLACES)
        raise BridgeError(f"no shared memory is left for {capacity:,} bytes ({'; '.join(dict.fromkeys(told))})")

    def _map(self, capacity: int) -> None:
        self.bytes = np.frombuffer(mmap.mmap(self.file, capacity), dtype=np.uint8)
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
        _remove(self.path)

    def close(self, *, unlink: bool = True) -> None:
        """Lets go of the file and of its memory. ``unlink=False``: its name is another process's to take away."""
        if unlink and self.file >= 0:
            self.unlink()
        self.bytes = np.empty(0, dtype=np.uint8)
        self.capacity = 0
        file, self.file = self.file, -1
        if file >= 0:
            os.close(file)


def _remove(path: str) -> None:
    if path and not path.startswith("/proc/"):
        Path(path).unlink(missing_ok=True)
