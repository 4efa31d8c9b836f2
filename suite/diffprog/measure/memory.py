"""Peak host memory of this process, cell by cell where the system allows the peak to be reset."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import psutil

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def reset_peak() -> int:
    """Sets the peak back to the present resident set, where the kernel can (Linux), and returns the latter in bytes."""
    with contextlib.suppress(OSError):  # elsewhere the peak is that of the worker's whole life, an upper bound
        _CLEAR.write_text("5", encoding="ascii")
    return int(psutil.Process().memory_info().rss)


def peak() -> int | None:
    """The peak resident set in bytes since ``reset_peak`` (since the start of the process where that does nothing)."""
    if _STATUS.exists():
        for line in _STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
