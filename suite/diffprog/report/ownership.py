"""Which pages are the suite's, to be written anew, and which are the user's."""

from __future__ import annotations

from pathlib import Path

from diffprog.errors import UsageError

MARK = "<!-- written by diffprog -->"
_TITLES = (
    "Differentiable programming benchmark: ",
    "The price of the bridge to Julia",
    "Fit of ",
    "Gradients on a GPU",
)
"""Of pages that were written before there was the mark."""


def check(path: Path) -> None:
    """Refuses to write over a page that the suite has not written.

    Raises:
        UsageError: naming the file.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"cannot look at {path} ({error})") from error
    head = text[:10_000].decode("utf-8", "replace")
    if MARK.encode() not in text[-200:] and not any(f"# {t}" in head or f"<title>{t}" in head for t in _TITLES):
        raise UsageError(f"{path} is not the suite's, and would be written over: move it out of the report's folder")
