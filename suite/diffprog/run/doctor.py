"""What this machine can run: every backend is really opened, each in a worker of its own."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from diffprog.backends.find_julia import Search
from diffprog.records import protocol
from diffprog.run.workers import Worker, WorkerDied, environment
from diffprog.spec import BACKENDS, DEVICES


@dataclass(frozen=True)
class Finding:
    """One backend on one device: ``ready``, or why not, and the command that would mend that."""

    backend: str
    device: str
    state: str = "unavailable"
    detail: str = ""
    reason: str = ""
    mend: str = ""


def examine(search: Search, threads: int, time_limit: float = 300.0) -> list[Finding]:
    """Opens every backend on every device; nothing is installed or changed."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for backend in BACKENDS:
            for device in DEVICES:
                found.append(_open(backend, device, search, threads, Path(folder) / "log", time_limit))
    return found


def _open(backend: str, device: str, search: Search, threads: int, log: Path, time_limit: float) -> Finding:
    if backend == "julia" and search.julia is None:
        return Finding(backend, device, reason=search.reason, mend=search.mend)
    if backend == "julia" and device == "cpu" and search.julia is not None and not search.julia.precompiled:
        # To open it would compile for minutes, and change something.
        return Finding(backend, device, "not compiled", reason="its package compiles once", mend="diffprog setup-julia")
    env = environment("float64", device, threads, search.julia if backend == "julia" else None)
    try:
        with Worker(env, log, threads) as worker:
            reply = worker.ask(protocol.Open(backend, "float64", device, threads, protocol.VERSION), time_limit)
    except WorkerDied as death:
        return Finding(backend, device, death.outcome, reason=str(death))
    if isinstance(reply, protocol.Ready):
        told = reply.versions | reply.switches
        return Finding(backend, device, "ready", detail=", ".join(f"{name} {what}" for name, what in told.items()))
    assert isinstance(reply, protocol.Failure)
    return Finding(backend, device, reply.outcome, reason=reply.reason, mend=reply.mend)
