"""Writes gpu.html, a page of its own for the cells that were asked for on ``cuda``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from diffprog.drawing import style
from diffprog.records.cells import Record
from diffprog.report import rendering
from diffprog.report.gpu import figure as gpu_figure
from diffprog.report.gpu import tables as gpu
from diffprog.report.outcomes import FAILURES
from diffprog.report.run import evidence, page

NAME = "gpu.html"
CAPTIONS = {
    "gpu_times": "Median time of one call, and the time of the same backend on the CPU over it; log-log.",
    "gpu_costs": "Peak memory of the device during a cell, and energy of one gradient; log-log.",
}
_DEVICE = ("gpu", "driver", "cuda_driver", "python")
"""What is not a framework's among the versions."""
_LIMIT = "gpu_"
"""What a setting of the device begins with, among the switches."""


def write(folder: Path, records: Sequence[Record], cells: pd.DataFrame) -> Path | None:
    """Writes the page and its figures, if any cell was asked for on ``cuda``; returns the page's path.

    Args:
        folder: the report folder.
        records: of the run.
        cells: the table of that name.
    """
    path = folder / NAME
    asked = [record for record in records if record.device == "cuda"]
    if not asked:
        path.unlink(missing_ok=True)  # of another run in this folder
        return None
    compared = gpu.compared(cells)
    figures = {name: style.save(figure, folder / "figures", name) for name, figure in gpu_figure.draw(compared).items()}
    rows = [page.shown(row) | {"warnings": gpu.warnings(row)} for row in rendering.rows(compared)]
    sentence, level = gpu.verdict(records)
    text = rendering.render(
        "gpu/gpu.html.j2",
        sentence=sentence,
        level=level,
        gaps=evidence.gaps(asked),
        started=min((record.started for record in asked if record.started), default=""),
        failures=[row for row in rows if row["outcome"] in FAILURES],
        most=12,
        agreement=_agreement(compared),
        timed=[row for row in rows if row["value_samples"] or row["gradient_samples"]],
        facts=_facts(asked, records),
        origins=_origins(asked),
        figures=figures,
        captions=CAPTIONS,
        colours=style.COLOURS,
        apart=gpu.apart,
    )  # fmt: skip
    rendering.replace(path, text)
    return path


def _facts(asked: Sequence[Record], records: Sequence[Record]) -> list[tuple[str, str]]:
    """What all cells have in common; where they differ, all that occurred."""
    origins = [record.provenance for record in asked if record.provenance]
    found: dict[str, dict[str, None]] = {"GPU": dict.fromkeys(origin.gpu for origin in origins)}
    for name, key in (("driver", "driver"), ("CUDA, of the driver", "cuda_driver")):
        found[name] = dict.fromkeys(origin.versions.get(key, "") for origin in origins)
    for key, text in ((key, text) for origin in origins for key, text in sorted(origin.switches.items())):
        if key.startswith(_LIMIT):
            found.setdefault(key.removeprefix(_LIMIT).replace("_", " "), {})[text] = None
    found["host"] = dict.fromkeys(
        ", ".join(text for text in (o.cpu, f"{o.threads} of {o.cores} cores", o.platform) if text)
        for record in records
        if (o := record.provenance)
    )
    return [(name, text) for name, seen in found.items() if (text := "; ".join(one for one in seen if one))]


def _origins(records: Sequence[Record]) -> list[dict[str, str]]:
    """Versions and switches of the frameworks, and the tasks and precisions that ran with them."""
    found: dict[tuple[str, str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for record in records:
        if origin := record.provenance:
            versions = {name: text for name, text in origin.versions.items() if name not in _DEVICE}
            switches = {name: text for name, text in origin.switches.items() if not name.startswith(_LIMIT)}
            tasks, precisions = found.setdefault((record.backend, _told(versions), _told(switches)), ({}, {}))
            tasks[record.task] = precisions[record.precision] = None
    return [
        {"backend": backend, "versions": versions, "switches": switches, "tasks": ", ".join(tasks),
         "precisions": ", ".join(precisions)}
        for (backend, versions, switches), (tasks, precisions) in found.items()
    ]  # fmt: skip


def _told(pairs: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in sorted(pairs.items()))


def _agreement(compared: pd.DataFrame) -> list[dict[str, Any]]:
    """By task, variant, precision and backend: cells, how many are right, and the one nearest to its tolerance."""
    found = []
    judged = compared[compared["tolerance"].notna()]
    for key, group in judged.groupby(["task", "variant", "precision", "backend"], sort=False):
        errors = group["gradient_relative_l2"].fillna(group["value_error"])
        worst = group.loc[(errors / group["tolerance"]).idxmax()]
        found.append(
            dict(zip(("task", "variant", "precision", "backend"), key, strict=True))
            | {"cells": len(group), "right": int((group["outcome"] == "ok").sum()), "worst": float(errors[worst.name])}
            | {"tolerance": float(worst["tolerance"]), "cell": f"{worst['size']}, {worst['label']}"}
        )
    return found
