"""What all pages are made with: tables as rows, the templates and their filters, and how a page is put on disk.

A page's templates lie beside it; what they include is in ``shared``.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from diffprog import format
from diffprog.report import ownership


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A table's rows as plain Python objects; what is missing is None."""
    plain = frame.astype(object)
    found: list[dict[str, Any]] = plain.where(plain.notna(), None).to_dict("records")
    return found


def by_case(entries: Iterable[Any]) -> list[tuple[str, list[Any]]]:
    """Rows or pieces of evidence by case, the cases in order of appearance."""
    cases: dict[str, list[Any]] = {}
    for entry in entries:
        cases.setdefault(entry["case"] if isinstance(entry, dict) else entry.case, []).append(entry)
    return list(cases.items())


def embedded(path: Path) -> str:
    """A PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


@cache
def _environment(kind: str) -> Environment:
    """Templates and filters for pages of a kind, ``html`` or ``md``: what is put into either is text, never markup."""
    made = Environment(
        loader=PackageLoader("diffprog.report", ""),
        autoescape=select_autoescape(["html.j2"]),
        finalize=format.markdown if kind == "md" else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "seconds": format.seconds,
        "size": format.size,
        "error": format.error,
        "ratio": format.ratio,
        "tax": format.tax,
        "count": format.count,
        "rate": format.rate,
        "quantity": format.quantity,
        "exponent": format.exponent,
        "clip": format.clip,
        "loss": format.loss,
        "by_case": by_case,
        "words": format.words,
        "embedded": embedded,
    }
    return made


def render(template: str, **shared: Any) -> str:
    """A page from a template by its path within this folder, such as ``run/report.html.j2`` or ``fits/fit.md.j2``."""
    return _environment(template.split(".")[-2]).get_template(template).render(**shared)


def replace(path: Path, text: str) -> None:
    """Writes a page so that a reader sees the old one or the new one, never half of it.

    Raises:
        UsageError: if there is one that the suite has not written.
    """
    ownership.check(path)
    text = f"{text.rstrip()}\n{ownership.MARK}\n"
    draft = path.with_name(path.name + ".part")
    draft.write_text(text, encoding="utf-8", errors="backslashreplace")
    draft.replace(path)
