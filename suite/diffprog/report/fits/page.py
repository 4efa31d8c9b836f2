"""Writes the report of a fit beside its records."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from diffprog import format
from diffprog.declaration import NO_LINE_SEARCH
from diffprog.drawing import style
from diffprog.errors import UsageError
from diffprog.records.fits import COMPARED, TOLERANCE, FitJournal, FitRecord
from diffprog.report import own, rendering
from diffprog.report.fits import pictures as fit_pictures
from diffprog.report.fits import tables as fits
from diffprog.report.outcomes import FAILURES
from diffprog.spec import Case


def write(folder: Path, told: list[str]) -> Path:
    """Writes tables/fits.csv, figures/, summary.md and index.html; returns the path of the page.

    ``told`` is what the page says of users' models; it gets what fails in their pictures.

    Raises:
        UsageError: if the folder holds no fits, or the report cannot be written there.
    """
    records = FitJournal(folder).read(mend=True)
    if not records:
        raise UsageError(f"{folder} holds no fits: there is nothing to report")
    try:
        (folder / "tables").mkdir(exist_ok=True)
        fits.table(records).to_csv(folder / "tables" / "fits.csv", index=False)
        drawn: dict[str, Path] = {}
        captions: dict[str, str] = {}
        with style.settings():
            for case, members in fits.by_case(records).items():
                figure = fits.draw_curves(case, fits.curves(folder, members))
                if figure is not None:
                    name = f"{case.key}-curves"
                    drawn[name] = style.save(figure, folder / "figures", name)
                    captions[name] = f"{case.key}: the learning curves of all backends, from one start."
                found = own.tried(case.task, partial(_learned, folder, case, members), told)
                if found is not None:
                    drawn[f"{case.key}-learned"], captions[f"{case.key}-learned"] = found
        _render(folder, records, drawn, captions, told)
    except OSError as error:
        raise UsageError(f"cannot write the report into {folder}: {error}") from error
    return folder / "index.html"


def _learned(folder: Path, case: Case, fits: Sequence[FitRecord]) -> tuple[Path, str] | None:
    """The picture of what was learned, saved, and its caption."""
    figure, caption = fit_pictures.draw(folder, case, fits)
    if figure is None:
        return None
    return style.save(figure, folder / "figures", f"{case.key}-learned"), f"{case.key}: {caption}"


def verdict(records: Sequence[FitRecord]) -> str:
    """One sentence: how many fits ended well, and how near the first Adam losses are to each other."""
    done = sum(record.outcome == "ok" for record in records)
    away = [r.deviation for r in records if r.deviation is not None and r.reference != "itself"]
    text = f"{done} of {len(records)} fits done"
    if away:
        agree = "agree" if max(away) <= TOLERANCE else "do not agree"
        text += f"; the first {COMPARED} Adam losses {agree} (largest relative difference {format.error(max(away))})"
    return text + "."


def minimax(fit: FitRecord) -> str:
    """What is to be known of a fit whose loss is not to fall; empty for all others."""
    if not fit.ascend:
        return ""
    return (
        f"a minimax: {', '.join(fit.ascend)} ascend at {fit.pace:g} times the rate {fit.rate:g} at which the others "
        f"descend, and both rates fall linearly to nothing; at the equilibrium the loss is {fit.saddle:.10g}, before "
        f"on either side of that; not fitted by L-BFGS: {NO_LINE_SEARCH}"
    )


def _render(
    folder: Path,
    records: Sequence[FitRecord],
    figures: dict[str, Path],
    captions: dict[str, str],
    notes: Sequence[str],
) -> None:
    origins = {
        f"{r.backend}: {', '.join(f'{k} {v}' for k, v in sorted(r.provenance.versions.items()))}; {r.provenance.cpu}, "
        f"{r.provenance.threads} of {r.provenance.cores} cores; suite {r.provenance.suite} {r.provenance.commit}": None
        for r in records
        if r.provenance is not None
    }
    failed = any(record.outcome in FAILURES for record in records)
    shared = {
        "title": f"Fit of {', '.join(dict.fromkeys(record.task for record in records))}",
        "started": min((record.started for record in records if record.started), default=""),
        "verdict": verdict(records),
        "level": "bad" if failed else "good" if any(r.outcome == "ok" for r in records) else "none",
        "notes": notes,
        "told": [record for record in records if record.outcome != "ok"],
        "cases": list(fits.by_case(records).items()),
        "figures": figures,
        "captions": captions,
        "origins": list(origins),
        "compared": COMPARED,
        "tolerance": TOLERANCE,
        "colours": style.COLOURS,
        "minimax": minimax,
    }
    for template, name in (("fits/fit.html.j2", "index.html"), ("fits/fit.md.j2", "summary.md")):
        rendering.replace(folder / name, rendering.render(template, **shared))
