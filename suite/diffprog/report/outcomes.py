"""The outcomes of cells, as pages tell them."""

from __future__ import annotations

FAILURES = ("disagrees", "error", "timed_out", "crashed", "out_of_memory")
ABSENCES = ("unsupported", "unavailable")


def words(outcome: str) -> str:
    """An outcome as it is written in a sentence."""
    return outcome.replace("_", " ")
