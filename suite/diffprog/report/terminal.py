"""The verdict of a run in a terminal: one row a cell, and below it what is missing, what failed, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from diffprog import format
from diffprog.records.cells import Record
from diffprog.records.fits import FitRecord
from diffprog.report import outcomes
from diffprog.report.gpu import tables as gpu
from diffprog.report.rendering import by_case, rows
from diffprog.report.run import evidence, tables
from diffprog.report.run.goals import goal

WIDE = 110
"""Characters. A narrower terminal is shown fewer columns; all of them are in the page."""

_STYLES = {"ok": "green", "disagrees": "bold red", "unsupported": "dim", "unavailable": "yellow"}
_FAILED = "bold magenta"
_NARROW = ("backend", "method", "dtype", "on", "outcome", "error", "value", "gradient", "ratio")


def table(records: Sequence[Record]) -> RenderableType:
    """Records for rich: a table a case, then the counts of outcomes, the failures and how to mend what is missing."""
    return _Verdict(records)


@dataclass(frozen=True)
class _Verdict:
    records: Sequence[Record]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= WIDE
        cases = [(case, [_row(cell) for cell in cells]) for case, cells in by_case(rows(tables.cells(self.records)))]
        every = [row for _, group in cases for row in group]
        for case, group in cases:
            title = Text(case, "bold")
            grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
            for name in every[0] if wide else _NARROW:
                # The same widths in each table, so that the columns of all cases are in line.
                least = max(len(name), *(len(row[name]) for row in every))
                left = name in (*_NARROW[:5], "engine")
                method = name == "method"
                grid.add_column(
                    name, justify="left" if left else "right", no_wrap=not method, overflow="fold",
                    min_width=None if method and not wide else least,
                )  # fmt: skip
            for row in group:
                grid.add_row(*(row[name] for name in (row if wide else _NARROW)))
            yield grid
            yield ""
        yield from _footer(self.records)


def fits(records: Sequence[FitRecord]) -> RenderableType:
    """Fits for rich: one row each, and below why some did not end well."""
    grid = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for name in ("fit", "backend", "optimiser", "outcome", "first loss", "final loss", "steps", "time", "first 50"):
        grid.add_column(name, justify="left" if name in ("fit", "backend", "optimiser", "outcome") else "right")
    for fit in records:
        deviation = "itself" if fit.reference == "itself" else format.error(fit.deviation)
        losses = [format.ABSENT if x is None else f"{x:.8g}" for x in (fit.first_loss, fit.final_loss)]
        grid.add_row(
            fit.case.key, fit.backend, fit.optimiser, _outcome(fit.outcome), *losses, str(fit.steps_done),
            format.seconds(fit.seconds), deviation,
        )  # fmt: skip
    notes = []
    for fit in records:
        if fit.outcome != "ok":
            mend = f"\n  to mend it: {fit.mend}" if fit.mend else ""
            notes.append(_outcome(fit.outcome) + Text(f" {fit.name}: {format.clip(fit.reason)}{mend}"))
    return Group(grid, "", *notes)


def _outcome(outcome: str) -> Text:
    return Text(format.words(outcome), _STYLES.get(outcome, _FAILED))


def _row(cell: dict[str, Any]) -> dict[str, Text]:
    """A cell's texts by heading, in the order of a wide terminal."""
    gradient = cell["operator"] == "gradient"
    error = cell["gradient_relative_l2"] if gradient else cell["value_error"]
    tolerance, ratio, peak = cell["tolerance"], cell["gradient_over_value"], cell["host_peak_bytes"]
    beyond = error is not None and tolerance is not None and error > tolerance
    first = cell["first_value_s"] if cell["first_gradient_s"] is None else cell["first_gradient_s"]
    return {
        "backend": Text(cell["backend"]),
        "method": Text(cell["method"] if gradient else f"{cell['method']} ({cell['operator']})"),
        "dtype": Text(cell["precision"]),
        "on": Text(cell["device"]),
        "outcome": _outcome(cell["outcome"]),
        "error": Text("itself" if cell["reference"] == "itself" else format.error(error), "bold red" if beyond else ""),
        "allowed": Text(format.ABSENT if tolerance is None else f"{tolerance:.0e}"),
        "value": Text(format.seconds(cell["value_median_s"])),
        "gradient": Text(format.seconds(cell["gradient_median_s"])),
        "ratio": Text(
            format.ratio(ratio), "yellow" if ratio is not None and ratio > goal(cell["task"], cell["method"]) else ""
        ),
        "first": Text(format.seconds(first)),
        "peak": Text(format.ABSENT if peak is None else f"{peak / 2**20:.0f} MiB"),
        "engine": Text(cell["engine"]),
    }


def _footer(records: Sequence[Record]) -> list[Text]:
    counts = Counter(record.outcome for record in records)
    lines = [Text(", ").join(Text(f"{number} ") + _outcome(name) for name, number in counts.most_common())]
    if any(record.device == "cuda" for record in records):
        lines.append(Text(gpu.verdict(records)[0]))
    for record in records:
        if record.outcome in outcomes.FAILURES:
            name = f"{record.cell.case.key}, {tables.label(record)}, {record.precision} on {record.device}"
            lines.append(_outcome(record.outcome) + Text(f" {name}: {format.clip(record.reason) or 'no reason given'}"))
    for gap in evidence.gaps(records):
        line = _outcome(gap.outcome) + Text(f" {gap.backends} ({gap.cells}): {gap.reason}")
        lines.append(line + Text(f"\n  to mend it: {gap.mend}") if gap.mend else line)
    return lines
