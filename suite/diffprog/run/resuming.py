"""Whether the records of an earlier run belong into this one: the same machine, versions, code and settings."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from diffprog.backends import find_julia
from diffprog.errors import UsageError
from diffprog.records.cells import Provenance, Record
from diffprog.run import environment, variables
from diffprog.run.installation import Installation
from diffprog.spec import BACKENDS

_DISTRIBUTIONS = ("numpy", "scipy", "torch", "jax", "jaxlib", "juliacall")
"""Whose versions are known here before a worker says them."""


@dataclass(frozen=True)
class Now:
    """What this run would write into its records.

    Attributes:
        own: the installation whose workers run.
        threads: of every backend.
        julia: the Julia that was found, as in a record; empty where there is none.
        keep: variables handed on to the workers.
        others: the commands of workers that are not the suite's own, by backend.
    """

    own: Installation
    threads: int
    julia: str = ""
    keep: tuple[str, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict)

    def differences(self, record: Record) -> list[tuple[str, str, str]]:
        """Where the record comes from elsewhere: (what, there, here)."""
        origin = record.provenance
        if origin is None:
            return []
        return [(what, was, now) for what, was, now in self._compared(record, origin) if was != now]

    def _compared(self, record: Record, origin: Provenance) -> Iterator[tuple[str, str, str]]:
        own = self.own
        yield "host", origin.host, platform.node()
        yield "CPU", origin.cpu, environment.cpu()
        yield "number of processors", str(origin.cores), str(environment.cores())
        yield "--threads", str(origin.threads), str(self.threads)
        yield "platform", origin.platform, platform.platform()
        yield "suite", origin.suite, own.version
        yield f"sources of {record.task}", origin.source, own.source(record.task)
        if origin.code:  # not in records of older versions
            yield "suite's own code", origin.code, own.code()
        if record.backend in self.others or record.backend in BACKENDS:
            yield "worker", origin.worker or "the suite's own", self.others.get(record.backend, "the suite's own")
        if record.backend in self.others:
            return
        with_julia = record.backend == "julia"
        kept = variables.recorded(self.keep, with_julia=with_julia)
        for name in dict.fromkeys([*origin.environment, *kept]):
            yield f"variable {name}", _shown(origin.environment.get(name)), _shown(kept.get(name))
        yield "Python", origin.versions.get("python", own.python), own.python
        if with_julia and self.julia:  # it is looked for where its cells are asked for
            yield "Julia", origin.julia, self.julia
        if own.executable == sys.executable:
            for name in _DISTRIBUTIONS:
                if name in origin.versions:
                    yield name, _plain(origin.versions[name], _installed(name)), _installed(name)


def _shown(value: str | None) -> str:
    return "not set" if value is None else value


def _plain(version: str, other: str) -> str:
    """A version without its local label, where the other has none: distributions may leave ``+cu128`` out."""
    return version if "+" in other else version.partition("+")[0]


@cache
def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def sentence(found: Mapping[str, Sequence[tuple[str, str, str]]]) -> str:
    """What differs, of the cells by name: each difference once, the first few."""
    rows = list(dict.fromkeys(row for rows in found.values() for row in rows))
    told = "; ".join(f"{what} was {was or 'unknown'} and is {now or 'unknown'}" for what, was, now in rows[:5])
    return told + (f"; and {len(rows) - 5} things more" if len(rows) > 5 else "")


def now(
    own: Installation,
    threads: int,
    julia: find_julia.Julia | None,
    keep: Sequence[str],
    workers: Mapping[str, Sequence[str]],
) -> Now:
    """What holds for a run that starts now."""
    return Now(own, threads, find_julia.provenance(julia) if julia is not None else "", tuple(keep), commands(workers))


def commands(workers: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The commands of workers by backend, as records have them."""
    return {backend: shlex.join(command) for backend, command in workers.items()}


def misfits(now: Now, records: Sequence[Record], all_of_them: int, folder: Path, *, remeasure: bool) -> list[Record]:
    """The records that do not belong to a run that starts now.

    Args:
        records: those that would stand.
        all_of_them: how many records there are.
        folder: where they lie.
        remeasure: whether they may be measured again.

    Raises:
        UsageError: if there are any, and they may not.
    """
    differing = {record.cell.name: found for record in records if (found := now.differences(record))}
    if differing and not remeasure:
        raise UsageError(
            f"{len(differing)} of the {all_of_them} records in {folder} do not belong to this run: "
            f"{sentence(differing)}; have them measured again with --resume --remeasure, or choose "
            "another folder with --out"
        )
    return [record for record in records if record.cell.name in differing]
