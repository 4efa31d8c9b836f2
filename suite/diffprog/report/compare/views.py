"""A comparison for people: tables in a terminal, and Markdown for a pull request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from diffprog import format, tasks
from diffprog.agree.timings import VERDICTS
from diffprog.report.compare.change import CHANGES, Change, Timing
from diffprog.report.compare.comparison import Comparison, rank, rank_time
from diffprog.spec import Cell

MOST = 15
"""Rows of a table in Markdown: a comment is read, not searched. The worst come first."""
_STYLES = {
    "regressed": "bold red", "failing": "bold magenta", "lost": "yellow", "not compared": "yellow",
    "repaired": "green", "slower": "bold red", "faster": "green", "ambiguous": "yellow", "withheld": "dim",
}  # fmt: skip
_QUIET = ("same", "not computed")
_Rows = Sequence[tuple[str, ...]]
_GRADIENTS = ("change", "cell", "moved by", "worst component", "why")
_TIMES = ("verdict", "cell", "of", "A", "B", "B/A", "interval", "p", "why")
_ORIGINS = ("what", "in A", "in B")


def sentence(comparison: Comparison) -> str:
    """The verdict, in one line."""
    kinds = Counter(change.kind for change in comparison.changes)
    verdicts = Counter(time.verdict for _, time in comparison.times)
    number = len(comparison.changes)
    text = f"{number} {'cell' if number == 1 else 'cells'} in both runs: "
    text += ", ".join(f"{kinds[kind]} {kind}" for kind in CHANGES if kinds[kind])
    text += "; times: " + (
        ", ".join(f"{verdicts[name]} {name}" for name in (*VERDICTS, "withheld") if verdicts[name]) or "none"
    )
    for count, run in ((comparison.only_first, "A"), (comparison.only_second, "B")):
        text += f"; {count} only in {run}" if count else ""
    return text


def method(comparison: Comparison) -> str:
    """How the timing verdicts were come to."""
    options = comparison.options
    pairs = sum(time.shift.paired for _, time in comparison.times)
    tests = sum(time.verdict != "withheld" for _, time in comparison.times)
    test = "two-sided Mann-Whitney U on the raw samples"
    if pairs:
        test = f"Wilcoxon's signed ranks on samples taken in turn in one session ({pairs} of {len(comparison.times)})"
        test += "" if pairs == len(comparison.times) else ", Mann-Whitney U on the others"
    return (
        f"Times: {test}; p adjusted for {tests} tests by Holm's method, at most {options.alpha:g}; B/A is the "
        f"Hodges-Lehmann ratio with its own {100 * (1 - options.alpha):g} % interval; least effect "
        f"{100 * options.effect:g} %. Two processes of the same code differ by a few per cent: see docs/design.md."
    )


def name(cell: Cell) -> str:
    """A cell in words, its engine only where it is not the default."""
    text = f"{cell.case.key} {cell.backend} {cell.method}"
    if cell.operator != "gradient":
        text += f" {cell.operator}"
    if cell.engine != tasks.engine(cell.backend, cell.case.task, cell.operator):
        text += f" ({cell.engine})"
    return f"{text} {cell.precision} {cell.device}"


def _gradient_row(change: Change) -> tuple[str, ...]:
    worst = f"{change.worst_name} by {change.worst:.1e}" if change.worst is not None else ""
    return change.kind, name(change.cell), format.error(change.relative_l2), worst, format.clip(change.reason, 200)


def _time_row(change: Change, time: Timing) -> tuple[str, ...]:
    shift = time.shift
    return (
        time.verdict, name(change.cell), time.quantity, format.seconds(time.before), format.seconds(time.after),
        f"{shift.ratio:.3f}", f"{shift.low:.3f} to {shift.high:.3f}",
        format.ABSENT if time.verdict == "withheld" else f"{time.p:.1g}", time.why,
    )  # fmt: skip


def _gradients(comparison: Comparison) -> _Rows:
    """Rows of what is worth a line, the worst first."""
    found = sorted((change for change in comparison.changes if change.kind not in _QUIET), key=rank)
    return [_gradient_row(change) for change in found]


def _times(comparison: Comparison) -> _Rows:
    found = sorted((item for item in comparison.times if item[1].verdict != "same"), key=rank_time)
    return [_time_row(*item) for item in found]


def terminal(comparison: Comparison, most: int = 30) -> RenderableType:
    """For rich: what changed, the worst first, at most ``most`` rows a table; then the verdict in one line."""
    parts: list[RenderableType] = []
    for title, heads, rows in (
        ("Gradients", _GRADIENTS, _gradients(comparison)),
        ("Times", _TIMES, _times(comparison)),
        ("Where the runs differ", _ORIGINS, comparison.origins),
    ):
        if not rows:
            continue
        grid = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
        for head in heads:
            grid.add_column(head, overflow="fold")
        for row in rows[:most]:
            grid.add_row(Text(row[0], _STYLES.get(row[0], "")), *(Text(text) for text in row[1:]))
        parts += [grid, Text(f"… and {len(rows) - most} more\n" if len(rows) > most else "")]
    bad = any(change.kind == "regressed" for change in comparison.changes)
    parts += [Text(method(comparison), "dim"), Text(sentence(comparison), "bold red" if bad else "bold")]
    return Group(*parts)


def markdown(comparison: Comparison) -> str:
    """For a comment on a pull request: the verdict, and the details folded. Some sixty lines at most."""
    bad = comparison.exit_code()
    a, b = (format.markdown(folder.name or folder) for folder in (comparison.first, comparison.second))
    lines = [f"**{'✗' if bad else '✓'} {format.markdown(sentence(comparison))}**", "", f"A: {a}. B: {b}.", ""]
    lines += _folded("Gradients that changed", _GRADIENTS, _gradients(comparison), open_=bool(bad))
    lines += _folded("Times that are not the same", _TIMES, _times(comparison))
    lines += _folded("Where the runs differ", _ORIGINS, comparison.origins)
    return "\n".join([*lines, f"<sub>{format.markdown(method(comparison))}</sub>", ""])


def _folded(title: str, heads: Sequence[str], rows: _Rows, *, open_: bool = False) -> list[str]:
    if not rows:
        return []
    most = MOST if heads is not _ORIGINS else MOST // 2
    counts = f"{len(rows)}" if len(rows) <= most else f"the first {most} of {len(rows)}"
    lines = [f"<details{' open' if open_ else ''}><summary>{title}: {counts}</summary>", ""]
    lines += ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(format.markdown(text) for text in row) + " |" for row in rows[:most]]
    return [*lines, "", "</details>", ""]
