"""What machine this is and where the code comes from; asked in the parent, stored with every record."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import psutil

import suite
from suite.backends import find_julia

ROOT = Path(__file__).parents[1]


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

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root.parent), *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.parent.resolve():
            return ""
        changed = git("status", "--porcelain", "--", "suite", "julia")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


@cache
def source_hash(task: str, root: Path = ROOT) -> str:
    """A hash of the sources that define a task on all backends: its folder and its Julia file."""
    digest = hashlib.sha256()
    julia = find_julia.package_folder(root) / "src"
    for path in sorted((root / "tasks" / task).glob("*.py")) + sorted(julia.rglob("*.jl")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@cache
def code_hash(root: Path = ROOT) -> str:
    """A hash of the suite's Python files that run in a worker, but for the tasks."""
    digest = hashlib.sha256()
    for path in sorted([*root.glob("*.py"), *root.glob("measure/*.py"), *root.glob("backends/*.py")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def describe() -> dict[str, object]:
    """The machine, for ``environment.json``."""
    return {
        "suite": suite.__version__,
        "commit": commit(),
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu": cpu(),
        "cores": cores(),
        "memory_bytes": int(psutil.virtual_memory().total),
    }
