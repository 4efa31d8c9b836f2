"""What a check against baselines says in a comment on a pull request, and how such comments are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffprog import format, tasks
from diffprog.cli.console import out
from diffprog.errors import UsageError
from diffprog.records.cells import Record
from diffprog.run import files
from diffprog.run.golden import Check

QUIET = ("ok", "unsupported", "unavailable")
HEADS = ("", "case", "backend", "operator", "outcome", "error", "allowed", "finite differences")
MOST = 40
"""Rows of a table."""


def is_standard_output(path: Path | None) -> bool:
    """Whether the comment takes the place of what is printed."""
    return path == Path("-")


def write(path: Path | None, text: str) -> None:
    """Writes a comment, whole or not at all, where one is wanted; to standard output where that is ``-``.

    Raises:
        UsageError: if the file cannot be written.
    """
    if path is None:
        return
    if is_standard_output(path):
        out.file.write(text)
        return
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")  # a pipe or a device: not to be replaced
        else:
            files.write_atomically(path, text)
    except OSError as error:
        raise UsageError(f"cannot write {path} ({error})") from error


def of_check(found: Check, missing: Sequence[str] = ()) -> str:
    """The verdict, what is wrong, and every cell. ``missing`` are backends that are required and not there."""
    bad = bool(found.failures or missing)
    lines = [f"**{'✗' if bad else '✓'} {format.markdown(_sentence(found))}**", ""]
    lines += [f"- required, but unavailable: {format.markdown(name)}" for name in missing]
    lines += [f"- {format.markdown(format.clip(failure))}" for failure in found.failures[:MOST]]
    if len(found.failures) > MOST:
        lines.append(f"- … and {len(found.failures) - MOST} more")
    lines += ["", f"<details{' open' if bad else ''}><summary>{_counted(found.records)}</summary>", ""]
    lines += ["| " + " | ".join(HEADS) + " |", "|" + " --- |" * len(HEADS)]
    regressed = {one.cell for one in found.regressions}
    rows = sorted(found.records, key=lambda record: _is_good(record, regressed))
    lines += ["| " + " | ".join(map(format.markdown, _row(record, regressed))) + " |" for record in rows[:MOST]]
    return "\n".join([*lines, "", "</details>", ""])


def _sentence(found: Check) -> str:
    compared = [record for record in found.records if record.agreement is not None]
    backends = list(dict.fromkeys(record.backend for record in compared))
    of = ", ".join(dict.fromkeys(record.task for record in found.records))
    if found.failures:
        bad = {one.cell for one in found.regressions} | {r.cell.name for r in found.records if r.outcome not in QUIET}
        wrong = dict.fromkeys(record.backend for record in found.records if record.cell.name in bad)
        return f"{of}: {len(bad)} of {len(found.records)} derivatives are not those of the baseline: {', '.join(wrong)}"
    return f"{of}: the derivatives on {', '.join(backends) or 'no backend'} are those of the baseline"


def _counted(records: Sequence[Record]) -> str:
    return f"{len(records)} cells" if len(records) <= MOST else f"the first {MOST} of {len(records)} cells"


def _is_good(record: Record, regressed: set[str]) -> bool:
    return record.outcome in QUIET and record.cell.name not in regressed


def _row(record: Record, regressed: set[str]) -> tuple[str, ...]:
    agreement, cell = record.agreement, record.cell
    found = None if agreement is None else agreement.gradient
    usual = tasks.engine(cell.backend, cell.case.task, cell.operator)
    differences = None if agreement is None else agreement.finite_differences
    mark = "✓" if record.outcome == "ok" else format.ABSENT  # of what was not compared
    return (
        mark if _is_good(record, regressed) else "✗",
        cell.case.key,
        cell.backend if cell.engine == usual else f"{cell.backend} ({cell.engine})",
        cell.operator,
        format.words(record.outcome),
        format.error(None if found is None else found.relative_l2),
        format.error(None if agreement is None else agreement.tolerance),
        format.error(differences),
    )
