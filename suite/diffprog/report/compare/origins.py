"""Where the numbers of two runs come from: what differs, and whether their times can be compared."""

from __future__ import annotations

from collections.abc import Sequence

from diffprog.records.cells import Provenance, Record

MACHINE = ("host", "cpu", "cores", "threads", "gpu")
"""Of the provenance: times are comparable only where these are the same."""
_SOFTWARE = ("suite", "commit", "source", "code", "platform", "julia", "worker")


def in_one_session(a: Record, b: Record) -> bool:
    """Whether the samples of the two cells were taken in turn: both records then name the same session."""
    first, second = a.provenance, b.provenance
    return first is not None and second is not None and bool(first.session) and first.session == second.session


def not_comparable(a: Provenance | None, b: Provenance | None) -> str:
    """Why times from two origins cannot be compared, or an empty string."""
    if a is None or b is None:
        return "not comparable: unknown origin"
    differ = [name for name in MACHINE if getattr(a, name) != getattr(b, name)]
    words = {"cpu": "CPU", "gpu": "GPU", "cores": "number of processors", "threads": "number of threads"}
    return "not comparable: another " + ", another ".join(words.get(name, name) for name in differ) if differ else ""


def differences(pairs: Sequence[tuple[Record, Record]]) -> list[tuple[str, str, str]]:
    """What differs between the provenances of cells: (what, in A, in B), each pair of values once."""
    found: dict[tuple[str, str, str], None] = {}
    for first, second in pairs:
        a, b = first.provenance, second.provenance
        if a is None or b is None:
            continue
        for name in (*MACHINE, *_SOFTWARE):
            what = f"sources of {first.task}" if name == "source" else name
            found[what, str(getattr(a, name)), str(getattr(b, name))] = None
        for kind in ("versions", "switches", "environment"):
            ours, theirs = getattr(a, kind), getattr(b, kind)
            for name in dict.fromkeys([*ours, *theirs]):
                word = {"versions": "", "switches": "switch ", "environment": "variable "}[kind]
                what = f"{word}{name} ({first.backend})" if word else name
                found[what, ours.get(name, ""), theirs.get(name, "")] = None
    return [row for row in found if row[1] != row[2]]
