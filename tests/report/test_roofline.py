"""The roofline in tables, figure and pages, from synthetic records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffprog import tasks
from diffprog.drawing import style
from diffprog.records.cells import Floor, Journal, Rates, Record, Seconds
from diffprog.report import build
from diffprog.report.run import roofline_figure, tables

RATES = Rates(bandwidth=2e10, flops=5e10, cache=2**25)


def timed(backend: str, size: str, **changes: Any) -> Record:
    named: dict[str, Any] = {
        "task": "qcbm", "variant": "gaussian", "size": size, "seed": 0, "backend": backend, "method": "adjoint",
        "engine": tasks.engine(backend, "qcbm", "gradient"), "operator": "gradient", "precision": "float64",
        "device": "cpu", "outcome": "ok", "seconds": Seconds(value=[2e-3, 4e-3, 6e-3], gradient=[8e-3] * 3),
        "floor": Floor(value=1e-3, gradient=6e-3, value_bound="memory", gradient_bound="arithmetic", rates=RATES),
    }  # fmt: skip
    return Record(**named | changes)


def test_times_over_floors_in_tables_and_pages(tmp_path: Path) -> None:
    records = [timed("torch", "tiny"), timed("torch", "small"), timed("jax", "tiny", floor=None)]
    journal = Journal(tmp_path)
    for record in records:
        journal.append(record)
    assert journal.read() == records
    build.write(tmp_path)
    frame = tables.cells(records)
    assert frame["value_over_floor"].tolist()[:2] == pytest.approx([4, 4])
    assert frame["gradient_over_floor"].tolist()[:2] == pytest.approx([4 / 3, 4 / 3])
    assert frame.iloc[2][["value_over_floor", "gradient_floor_s", "flops_per_s"]].isna().all()
    html, markdown = (tmp_path / "index.html").read_text(), (tmp_path / "summary.md").read_text()
    (section,) = [part for part in html.split("<h2>") if part.startswith("How far from the least possible")]
    assert "20.0 GB/s" in section and "50.0 Gflop/s" in section
    assert section.count('<td class="n strong">4.00×</td>') == section.count('<td class="n strong">1.33×</td>') == 2
    assert section.count('<i class="dot torch">') == 3 and '<i class="dot jax">' not in section
    assert "data:image/png" in section
    assert "| 1.00 ms | 4.00× | 6.00 ms | 1.33× |" in markdown
    assert (tmp_path / "figures" / "roofline.svg").exists()


def test_the_figure_shows_the_share_in_the_order_of_the_sizes() -> None:
    half = Floor(value=2e-3, gradient=4e-3, rates=RATES)
    with style.settings():
        drawn = roofline_figure.draw(tables.cells([timed("torch", "small", floor=half), timed("torch", "tiny")]))
    (axes,) = drawn["roofline"].axes
    value, gradient, line = axes.lines
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["tiny", "small"]
    assert np.asarray(value.get_ydata()) == pytest.approx([1 / 4, 1 / 2])
    assert np.asarray(gradient.get_ydata()) == pytest.approx([3 / 4, 1 / 2])
    assert set(np.asarray(line.get_ydata())) == {1}


def test_without_floors_there_is_no_such_section(tmp_path: Path) -> None:
    Journal(tmp_path).append(timed("torch", "tiny", floor=None))
    build.write(tmp_path)
    assert "least possible" not in (tmp_path / "index.html").read_text()
    assert "Time over floor" not in (tmp_path / "summary.md").read_text()


def test_the_demands_are_explained_where_tasks_are() -> None:
    for name in tasks.NAMES:
        readme = Path(tasks.__file__).parent / name / "README.md"
        assert "## Floor\n" in readme.read_text(), name
