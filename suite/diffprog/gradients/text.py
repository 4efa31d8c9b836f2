"""A comparison of functions in words: for a terminal, and for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from diffprog import format
from diffprog.gradients.rows import Row, Rows
from diffprog.plain import on_one_line

HEADS = ("backend", "engine", "operator", "outcome", "error", "of allowed", "finite differences", "worst parameter")
LONGEST = 700
"""Characters of a reason."""
_CSS = (
    "border-collapse:collapse;margin:.4em 0;color:inherit;background:transparent",
    "padding:.15em .7em;text-align:left;border-bottom:1px solid color-mix(in srgb,currentColor 25%,transparent)",
)
"""Of the table and of its cells: in the page's own colours, be they dark or light."""


def plain(result: Rows) -> str:
    """One line with the verdict, a row a function, and why those are not ok that are not."""
    rows = [HEADS, *map(cells, result.rows)]
    kept = _worth_showing(rows, result)
    widths = [max(len(row[k]) for row in rows) for k in kept]
    lines = ["  ".join(row[k].ljust(width) for k, width in zip(kept, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([verdict(result), "", *lines, *(["", *below(result)] if below(result) else [])])


def html(result: Rows) -> str:
    """The same as a table of HTML; nothing in it is markup of anybody else's."""
    rows = [HEADS, *map(cells, result.rows)]
    kept = _worth_showing(rows, result)
    table, cell = _CSS

    def line(row: Sequence[str], tag: str, *, bold: bool) -> str:
        style = cell + (";font-weight:bold" if bold else "")
        return "<tr>" + "".join(f'<{tag} style="{style}">{escape(row[k])}</{tag}>' for k in kept) + "</tr>"

    body = [
        line(row, "td", bold=not one.ok) for row, one in zip(rows[1:], result.rows, strict=True)
    ]  # bold is what needs a look
    told = "".join(f"<li>{escape(text)}</li>" for text in below(result))
    mark = "✓" if result.ok else "✗"
    return (
        f'<div><strong>{mark} {escape(verdict(result))}</strong><table style="{table}">'
        f"<thead>{line(HEADS, 'th', bold=True)}</thead><tbody>{''.join(body)}</tbody></table>"
        + (f"<ul>{told}</ul></div>" if told else "</div>")
    )


def verdict(result: Rows) -> str:
    """One line."""
    compared = list(dict.fromkeys(row.backend for row in result.rows if row.outcome == "ok"))
    of = f"{_parameters(result)}, {result.precision}"
    operators = _list(list(dict.fromkeys(row.operator for row in result.rows if row.operator != "value")))
    if result.ok and len(compared) > 1:
        return f"ok: {_list(compared)} agree: {operators} of {of}"
    if result.ok:
        return f"ok: {_list(compared)} agrees with finite differences: {operators} of {of}"
    outcomes: dict[str, dict[str, None]] = {}
    for row in result.rows:
        if not row.ok:
            outcomes.setdefault(format.words(row.outcome), {})[row.backend] = None
    told = "; ".join(f"{outcome}: {_list(list(names))}" for outcome, names in outcomes.items())
    return f"{told} ({operators} of {of})"


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table, as `HEADS` have it."""
    found = row.agreement
    error = None if found is None or found.gradient is None else found.gradient.relative_l2
    if row.operator == "value" and found is not None:
        error, allowed = found.value, found.value_tolerance
    else:
        allowed = None if found is None else found.tolerance
    share = format.error(error / allowed) if error is not None and allowed else ""
    own = row.is_yardstick or (found is not None and found.reference == "itself")
    return (
        row.backend,
        row.engine,
        row.operator,
        format.words(row.outcome),
        ("yardstick" if row.is_yardstick else "") if own else ("" if error is None else format.error(error)),
        "" if own else share,
        _differences(row),
        _worst(row),
    )


def _differences(row: Row) -> str:
    found = row.agreement
    if found is None or found.finite_differences is None:
        return ""
    return f"{format.error(found.finite_differences)} (at most {format.error(found.finite_differences_tolerance)})"


def _worst(row: Row) -> str:
    if not row.errors:
        return ""
    name = max(row.errors, key=lambda name: row.errors[name])
    return f"{on_one_line(name)} by {format.error(row.errors[name])}" if row.errors[name] else ""


def _worth_showing(rows: Sequence[Sequence[str]], result: Rows) -> list[int]:
    """The columns with something in them; the operator's where there are several."""
    several = len({row.operator for row in result.rows}) > 1
    return [k for k, head in enumerate(HEADS) if (several or head != "operator") and any(row[k] for row in rows[1:])]


def below(result: Rows) -> list[str]:
    """Reasons, ways to mend, and notes."""
    told = []
    for row in result.rows:
        if row.outcome == "ok":
            continue
        name = row.backend if row.operator == "gradient" else f"{row.backend} ({row.operator})"
        mend = f"; to mend this: {row.mend}" if row.mend else ""
        told.append(f"{name}: {format.words(row.outcome)}: {on_one_line(format.clip(row.reason, LONGEST))}{mend}")
    zero = {
        name: None for row in result.rows if row.agreement is not None for name in row.agreement.zero_blocks
    }  # it may be so, and may be a mistake
    if zero:
        told.append(f"note: the loss does not depend on {_list(list(zero))}: the gradient is zero throughout")
    return [*told, *(f"note: {on_one_line(note)}" for note in result.notes)]


def _parameters(result: Rows) -> str:
    count = len(result.shapes)
    return f"{count} parameters" if count != 1 else f"the parameter {next(iter(result.shapes))}"


def _list(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
