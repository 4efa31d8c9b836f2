"""What machine this is and where the code comes from; asked in the parent, stored with every record."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import psutil

from diffprog import tasks
from diffprog.backends import find_julia
from diffprog.models import loading
from diffprog.version import __version__

ROOT = Path(__file__).parents[1]
MEASURING = ("records", "measure", "models", "circuits", "backends", "worker")
"""Folders whose modules workers run."""


@cache
def cpu() -> str:
    """The processor's own name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Logical processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return psutil.cpu_count() or 1


@cache
def commit(root: Path = ROOT) -> str:
    """The commit of the suite in folder ``root``, with ``+`` for uncommitted changes; empty outside a clone."""
    top = root.parents[1]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(top), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != top.resolve():
            return ""
        changed = git("status", "--porcelain", "--", "suite", "julia")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def source_hash(task: str, root: Path = ROOT) -> str:
    """A hash of the sources that define a task on all backends: its folder and its Julia file."""
    folder = tasks.get(task).folder if task in tasks.known() else None
    return _own_hash(task, root) if folder is None else loading.source_hash(folder)  # its author may be at work on it


@cache
def _own_hash(task: str, root: Path) -> str:
    digest = hashlib.sha256()
    julia = find_julia.package_folder(root) / "src"
    own = (path for path in (root / "tasks" / task).glob("*.py") if path.name not in loading.SHOWN)
    for path in sorted(own) + sorted(julia.rglob("*.jl")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@cache
def code_hash(root: Path = ROOT) -> str:
    """A hash of the suite's Python files that run in a worker, but for the tasks."""
    digest = hashlib.sha256()
    for path in sorted([*root.glob("*.py"), *(path for name in MEASURING for path in root.glob(f"{name}/*.py"))]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def describe() -> dict[str, object]:
    """The machine, for ``environment.json``."""
    return {
        "suite": __version__,
        "commit": commit(),
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu": cpu(),
        "cores": cores(),
        "memory_bytes": int(psutil.virtual_memory().total),
    }
