"""How much memory this process may still take: what the machine has free, and what its control groups leave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

_UNLIMITED = 2**60
"""Bytes; version 1 writes "no limit" as a number of about this size."""
_FILES = {"v2": ("memory.max", "memory.current"), "v1": ("memory.limit_in_bytes", "memory.usage_in_bytes")}


def available(proc: Path = Path("/proc/self")) -> int:
    """Bytes that can be had, of the machine and of every control group that this process is in.

    The limits of containers, ``systemd-run`` and batch systems are control groups' (cgroups, version 1 and 2): psutil
    tells of the machine alone.
    """
    return min([int(psutil.virtual_memory().available), *_left(proc)])


def _left(proc: Path) -> Iterator[int]:
    """Of each limit on the way from this process's group to the root, what is left, bytes."""
    for version, folder, top in _groups(proc):
        while True:
            left = _left_in(folder, *_FILES[version])
            if left is not None:
                yield left
            if folder in (top, folder.parent):
                break
            folder = folder.parent


def _left_in(folder: Path, limit: str, used: str) -> int | None:
    try:
        text = (folder / limit).read_text().strip()
        if text == "max" or int(text) >= _UNLIMITED:
            return None
        return max(0, int(text) - int((folder / used).read_text()) + _reclaimable(folder))
    except (OSError, ValueError):
        return None


def _reclaimable(folder: Path) -> int:
    """Bytes of cached files that count as used, and are given up when memory is asked for."""
    try:
        entries = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        name = "total_inactive_file" if "total_inactive_file" in entries else "inactive_file"
        return int(entries.get(name, 0))
    except (OSError, ValueError):
        return 0


def _groups(proc: Path) -> Iterator[tuple[str, Path, Path]]:
    """Of each hierarchy that may limit memory: its version, the folder of this process's group, and the topmost."""
    try:
        mine = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
        mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in (one for one in mine if len(one) == 3):
        if controllers and "memory" not in controllers.split(","):
            continue
        kind = "cgroup" if controllers else "cgroup2"
        for mount in mounts:
            tail = mount[mount.index("-") + 1 :] if "-" in mount else []
            if len(tail) < 3 or tail[0] != kind or (controllers and "memory" not in tail[2].split(",")):
                continue
            top, root = Path(mount[4].replace("\\040", " ")), PurePosixPath(mount[3])
            inside = PurePosixPath(path)
            # Within a container the path is the host's, and the mount shows this group alone.
            within = inside.relative_to(root) if inside.is_relative_to(root) else PurePosixPath()
            found = top / within
            yield "v1" if controllers else "v2", found if found.is_dir() else top, top
