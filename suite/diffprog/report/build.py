"""Writes the report of a run beside its records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from diffprog.drawing import style
from diffprog.errors import UsageError
from diffprog.records import fits
from diffprog.records.cells import Journal
from diffprog.report import rendering
from diffprog.report.fits import page as fit_page
from diffprog.report.gpu import page as gpu_page
from diffprog.report.run import figures, growth, growth_figure, page, pictures, roofline_figure, tables, work_precision
from diffprog.run import models


def write(folder: Path, tell: Callable[[str], None] = lambda note: None) -> Path:
    """Writes tables/, figures/, summary.md and index.html from the records and arrays of a run, or of a fit.

    Where cells on ``cuda`` were asked for, gpu.html too.

    The records and arrays are only read. What has become of users' models, and what fails in their pictures, is on the
    page, and told to ``tell``. Returns the path of the page.

    Raises:
        UsageError: if the folder holds no records, or the report cannot be written there.
    """
    told = models.recall(folder)
    path = fit_page.write(folder, told) if (folder / fits.FILE).exists() else _run(folder, told)
    for note in told:
        tell(note)
    return path


def _run(folder: Path, told: list[str]) -> Path:
    """The page of a run; ``told`` gets what fails in users' pictures."""
    records = Journal(folder).read()
    if not records:
        raise UsageError(f"{folder} holds no records: there is nothing to report")
    cells = tables.cells(records)
    grown = growth.points(cells)
    frames = {
        "cells": cells,
        "samples": tables.samples(records),
        "pairs": tables.pairs(records, folder),
        "growth": growth.exponents(grown),
        "growth_points": grown,
    }
    try:
        tables.write(frames, folder / "tables")
        with style.settings():
            drawn = figures.draw(cells, frames["pairs"]) | growth_figure.draw(grown) | roofline_figure.draw(cells)
            work = work_precision.read(folder / "work_precision.csv")
            diagram = None if work is None else work_precision.draw(work)
            drawn |= {} if diagram is None else {"work_precision": diagram}
            charts = {name: style.save(figure, folder / "figures", name) for name, figure in drawn.items()}
            scenes = pictures.save(folder, records, told)
        grown_rows = rendering.rows(frames["growth"])
        report = page.Report(folder, records, cells, frames["pairs"], charts, scenes, grown_rows, told)
        rendering.replace(folder / "summary.md", page.summary(report))
        rendering.replace(folder / "index.html", page.html(report))
        with style.settings():
            gpu_page.write(folder, records, cells)
    except OSError as error:
        raise UsageError(f"cannot write the report into {folder}: {error}") from error
    return folder / "index.html"
