"""Turns the folder of a run into tables, figures, pictures, a Markdown summary and one self-contained web page.

``write(folder)`` does all of it from the records and arrays that the run left behind; it runs no benchmark and changes
no record. ``terminal.table(records)`` is the same verdict for the end of a run in a terminal.
"""

from __future__ import annotations

from diffprog.drawing import undisturbed  # noqa: F401 - first: it imports matplotlib
from diffprog.report.build import write

__all__ = ["write"]
