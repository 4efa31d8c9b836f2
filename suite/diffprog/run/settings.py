"""How a run measures, and what is in every report folder."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diffprog.backends import find_julia
from diffprog.errors import UsageError
from diffprog.records import protocol
from diffprog.records.cells import Provenance
from diffprog.run import environment, files, folders, installation, processors, resuming, variables
from diffprog.run.installation import Installation
from diffprog.run.workers import COMMAND
from diffprog.spec import Cell

RATES = 0.4
"""Seconds that each backend, device and precision may measure its own rates for, at most."""


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        threads: of BLAS and its like, the same on every backend.
        samples: steady samples of value and of gradient, at least.
        seconds: about how long to sample a cell.
        time_limit: seconds a worker may take over one cell.
        julia: where Julia was looked for, and what was found.
        command: how a worker is started.
        workers: the same by backend, where it is another; docs/protocol.md says what such a worker must do.
        attempt: whether to try cells that ``diffprog.engines`` declares unsupported.
        installation: whose workers these are; None: this one's.
        keep: variables of the user's environment that workers get besides; see `diffprog.run.variables`.
        compile_cache: where workers keep what they compile, for later runs; None: nowhere.
        in_turn: whether samples are taken one by one afterwards; see `diffprog.run.versus`.
    """

    threads: int = 1
    samples: int = 9
    seconds: float = 1.0
    time_limit: float = 900.0
    julia: find_julia.Search = field(default_factory=find_julia.Search)
    command: Sequence[str] = COMMAND
    workers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    attempt: bool = False
    installation: Installation | None = None
    keep: tuple[str, ...] = ()
    compile_cache: Path | None = None
    in_turn: bool = False


Listener = Callable[[str, Cell | None], None]
"""Told ``(what is happening, to which cell)``; ``("done", cell)`` when a cell has its record."""


def make_folder(folder: Path) -> folders.Lock | None:
    """Makes a report folder with what is in every one, and holds it.

    Raises:
        UsageError: if it cannot be written, or another process is writing into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = folders.lock(folder)
        (folder / "arrays").mkdir(parents=True, exist_ok=True)
        (folder / "logs").mkdir(exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except (OSError, ValueError) as error:
        raise UsageError(f"the report folder {folder} cannot be written ({error})") from error
    return held


def write_environment(folder: Path, own: Installation | None = None) -> None:
    """What the machine and the installation (None: this one) are, into ``environment.json``."""
    found = environment.describe()
    if own is not None:
        found |= {"suite": own.version, "commit": own.commit, "python": own.python}
    files.write_atomically(folder / "environment.json", json.dumps(found, indent=1) + "\n")


def provenance(
    settings: Settings, task: str, backend: str, opened: protocol.Ready, claim: processors.Claim | None = None
) -> Provenance:
    """Where the numbers of an opened worker come from, which was bound to the processors of a claim."""
    julia, own = settings.julia.julia, settings.installation or installation.this()
    return Provenance(
        suite=own.version,
        commit=own.commit,
        source=own.source(task),
        code=own.code(),
        host=platform.node(),
        cpu=environment.cpu(),
        cores=environment.cores(),
        threads=settings.threads,
        gpu=opened.versions.get("gpu", ""),
        platform=platform.platform(),
        versions={"python": own.python, **opened.versions},
        switches=opened.switches,
        julia=find_julia.provenance(julia) if backend == "julia" and julia is not None else "",
        environment=variables.recorded(settings.keep, with_julia=backend == "julia") | caches(settings),
        worker=resuming.commands(settings.workers).get(backend, ""),
        processors=str(claim or ""),
        contended=bool(claim and claim.shared),
    )


def caches(settings: Settings) -> dict[str, str]:
    """The variables of a cache that outlives the workers, where there is to be one."""
    return {} if settings.compile_cache is None else variables.lasting(settings.compile_cache)
