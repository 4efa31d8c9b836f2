"""The pages of a report: summary.md and one self-contained index.html, from the templates beside this file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from diffprog import tasks
from diffprog.agree.timings import NOISE
from diffprog.drawing.style import COLOURS
from diffprog.records.cells import Record
from diffprog.report import rendering
from diffprog.report.outcomes import FAILURES
from diffprog.report.run import evidence, ladder, notes
from diffprog.report.run.figures import TAX
from diffprog.report.run.goals import CHEAP, goal

_CAPTIONS = {
    "times": "Median time of one call by backend and method; whiskers are the quartiles, the axis is logarithmic.",
    "ratios": "Time of value and gradient together over the time of the value alone, logarithmic axis.",
    "agreement": "Relative L2 difference of every pair of gradients; exact equality is written 0.",
    "work_precision": "Error against a converged answer, over the work and the time that it takes; logarithmic axes.",
    "harness": "Time in the harness over the time of the same function in a bare loop.",
    "roofline": "Floor over time of one call against size, where 1 is the least possible time; both axes logarithmic.",
    "growth": "Time of one call and peak host memory above what the worker held before, against size; log-log.",
}


def _noted(row: dict[str, Any]) -> dict[str, str]:
    """The engine where it is not the default: what a reader need not be told is left out."""
    usual = tasks.engine(row["backend"], row["task"], row["operator"])
    return {"engine_note": "" if row["engine"] == usual else row["engine"]}


def shown(cell: dict[str, Any]) -> dict[str, Any]:
    """A row of the table of cells with what the pages say of it besides."""
    return cell | _noted(cell) | {"dear": evidence.dear(cell), "goal": goal(cell["task"], cell["method"])}


@dataclass(frozen=True)
class Report:
    """Everything that the templates show. ``charts`` and ``scenes`` are the PNG files by name."""

    folder: Path
    records: Sequence[Record]
    frame: pd.DataFrame
    pairs: pd.DataFrame
    charts: dict[str, Path]
    scenes: dict[str, Path]
    growth: Sequence[dict[str, Any]] = ()
    """Rows of the table of that name."""
    told: Sequence[str] = ()
    """What has become of users' models."""

    @property
    def title(self) -> str:
        tasks = list(dict.fromkeys(record.task for record in self.records))
        return f"Differentiable programming benchmark: {', '.join(tasks)}"

    @property
    def started(self) -> str:
        return min((record.started for record in self.records if record.started), default="")

    @property
    def verdict(self) -> str:
        return evidence.verdict(self.records)

    @property
    def level(self) -> str:
        """The colour of the verdict: bad if a cell failed, none if nothing was computed, else good."""
        outcomes = {record.outcome for record in self.records}
        return "bad" if outcomes & set(FAILURES) else "good" if "ok" in outcomes else "none"

    @property
    def gaps(self) -> list[evidence.Gap]:
        return evidence.gaps(self.records)

    @property
    def failures(self) -> list[dict[str, Any]]:
        return [cell for cell in self.cells if cell["outcome"] in FAILURES]

    @cached_property
    def cells(self) -> list[dict[str, Any]]:
        return [shown(cell) for cell in rendering.rows(self.frame)]

    @property
    def timed(self) -> list[dict[str, Any]]:
        return [cell for cell in self.cells if cell["value_samples"] or cell["gradient_samples"]]

    @property
    def ratios(self) -> list[dict[str, Any]]:
        return [cell for cell in self.cells if cell["gradient_over_value"] is not None]

    @property
    def dear(self) -> list[dict[str, Any]]:
        return [cell for cell in self.cells if cell["dear"]]

    @property
    def on_gpu(self) -> bool:
        """Whether there is a page for cells on ``cuda``."""
        return any(record.device == "cuda" for record in self.records)

    @property
    def floored(self) -> list[dict[str, Any]]:
        """Cells that were timed and have a floor."""
        return [c for c in self.cells if c["value_over_floor"] is not None or c["gradient_over_floor"] is not None]

    @property
    def rates(self) -> list[dict[str, Any]]:
        """What the devices do at their best: one row a backend, device, precision and number of threads."""
        names = ("backend", "device", "precision", "threads", "bandwidth_bytes_per_s", "flops_per_s")
        found = dict.fromkeys(tuple(cell[name] for name in names) for cell in self.floored)
        return [dict(zip(names, entry, strict=True)) for entry in found]

    @property
    def grown(self) -> list[dict[str, Any]]:
        """The rows of ``growth`` with a heading in the place of their case."""
        return [
            row | _noted(row) | {"case": f"{row['task']}-{row['variant']} against {row['extent_name']}"}
            for row in self.growth
        ]

    @property
    def taxed(self) -> list[dict[str, Any]]:
        return [
            cell
            for cell in self.cells
            if cell["value_harness_tax"] is not None or cell["gradient_harness_tax"] is not None
        ]

    @property
    def rungs(self) -> list[ladder.Rung]:
        return ladder.rungs(self.frame, self.pairs)

    @property
    def invariants(self) -> list[evidence.Invariant]:
        return evidence.invariants(self.records)

    @property
    def machines(self) -> list[str]:
        """What the timings were taken on, one line a device."""
        found: dict[str, None] = {}
        for record in self.records:
            origin = record.provenance
            if origin and (record.seconds.value or record.seconds.gradient):
                cpu = f"{origin.cpu}, {origin.threads} of {origin.cores} cores"
                where = f"{origin.gpu}, host {cpu}" if record.device == "cuda" and origin.gpu else cpu
                found[f"{record.device}: {where}"] = None
        return list(found)

    @property
    def notes(self) -> list[str]:
        """What may have touched the numbers, and what is gone."""
        return [*self.told, *notes.notes(self.folder, self.records)]

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What is common to the run; where cells differ, all that occurred."""
        named = (("suite", "suite"), ("commit", "commit"), ("host", "host"), ("CPU", "cpu"), ("cores", "cores"),
                 ("threads", "threads"), ("GPU", "gpu"), ("platform", "platform"))  # fmt: skip
        origins = [record.provenance for record in self.records if record.provenance]
        seen = [(name, dict.fromkeys(str(getattr(origin, field)) for origin in origins)) for name, field in named]
        return [(name, text) for name, found in seen if (text := "; ".join(value for value in found if value))]

    @property
    def origins(self) -> list[dict[str, str]]:
        """Versions and switches, one row for each distinct set."""
        found: dict[tuple[str, ...], None] = {}
        for record in self.records:
            if origin := record.provenance:
                versions, switches = (
                    ", ".join(f"{name} {value}" for name, value in sorted(pairs.items()))
                    for pairs in (origin.versions, origin.switches)
                )
                where = (record.backend, record.device, record.precision)
                found[(*where, record.task, origin.source, versions, switches, origin.julia)] = None
        names = ("backend", "device", "precision", "task", "source", "versions", "switches", "julia")
        return [dict(zip(names, entry, strict=True)) for entry in found]

    @property
    def environment(self) -> str:
        """environment.json as indented text; empty if the run left none that can be read."""
        try:
            found = json.loads((self.folder / "environment.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ""
        return json.dumps(found, indent=2, ensure_ascii=False)


def _render(template: str, report: Report) -> str:
    shared = {"most": 12, "cheap": CHEAP, "goal": TAX, "noise": NOISE, "colours": COLOURS, "captions": _CAPTIONS}
    return rendering.render(template, report=report, **shared)


def html(report: Report) -> str:
    """The page: one file with its style and images inside, nothing to fetch and no script."""
    return _render("run/report.html.j2", report)


def summary(report: Report) -> str:
    """The same in brief, as Markdown."""
    return _render("run/summary.md.j2", report)
