"""The outcomes of cells, as pages tell them."""

from __future__ import annotations

FAILURES = ("disagrees", "error", "timed_out", "crashed", "out_of_memory")
ABSENCES = ("unsupported", "unavailable")
