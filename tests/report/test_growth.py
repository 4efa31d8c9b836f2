"""Growth with size: exact power laws, what is left out, the tables and the page; and the goals of gradients."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from diffprog import tasks
from diffprog.records.cells import Journal, Memory, Record, Seconds
from diffprog.report import build, rendering
from diffprog.report.run import evidence, goals, growth, growth_figure, tables

BEFORE = 100 * 2**20


def record(size: str, law: tuple[float, float, float] = (1, 2, 1.5), **changes: Any) -> Record:
    """A cell whose value, gradient and memory are powers of its extent."""
    fields: dict[str, Any] = {
        "task": "eigensolver", "variant": "spectrum", "size": size, "seed": 0, "backend": "numpy", "method": "dense",
        "operator": "gradient", "engine": "eager", "precision": "float64", "device": "cpu", "outcome": "ok",
        "parameters": 8,
    } | changes  # fmt: skip
    task = tasks.get(fields["task"])
    _, extent = task.extent(task.configure(fields["variant"], size))
    value, gradient, memory = (extent**exponent for exponent in law)
    measured: dict[str, Any] = {
        "seconds": Seconds(value=[1e-6 * value] * 3, gradient=[3e-6 * gradient] * 3),
        "memory": Memory(host_before=BEFORE, host_peak=BEFORE + round(2**20 * memory)),
    }
    return Record(**measured | fields)


def fitted(records: list[Record]) -> list[dict[str, Any]]:
    return rendering.rows(growth.exponents(growth.points(tables.cells(records))))


@pytest.mark.parametrize("sizes", [("tiny", "small"), ("large", "tiny", "medium", "small")])
def test_power_laws_give_their_exponents(sizes: tuple[str, ...]) -> None:
    (row,) = fitted([record(size) for size in sizes])
    found = [row[f"{name}_exponent"] for name in growth.QUANTITIES]
    assert found == pytest.approx([1, 2, 1.5], abs=1e-6)
    assert [row[f"{name}_sizes"] for name in growth.QUANTITIES] == [len(sizes)] * 3
    assert (row["extent_name"], row["smallest"]) == ("matrix size 2ᴸ", 16)


def test_series_are_kept_apart() -> None:
    kinds: list[dict[str, Any]] = [
        {}, {"precision": "float32"}, {"device": "cuda"}, {"backend": "torch"}, {"method": "dominant"},
        {"variant": "ground_state"}, {"task": "qcbm", "variant": "gaussian", "method": "adjoint"},
    ]  # fmt: skip
    records = [record(size, (p, 1, 1), **kind) for size in ("small", "tiny") for p, kind in enumerate(kinds)]
    rows = fitted(records)
    assert [row["value_exponent"] for row in rows] == pytest.approx(range(len(kinds)), abs=1e-6)
    assert [row["precision"] for row in rows[:3]] == ["float64", "float32", "float64"]


@pytest.mark.parametrize(
    "records",
    [
        [record("tiny")],
        [record("tiny"), record("tiny", seed=1)],
        [record("tiny"), record("small", backend="torch")],
        [record("tiny"), record("small", outcome="disagrees")],
        [record("tiny"), record("small", seconds=Seconds(), memory=Memory())],
    ],
    ids=["one", "two seeds", "two backends", "one that agrees", "one that was measured"],
)
def test_one_size_gives_nothing(records: list[Record]) -> None:
    points = growth.points(tables.cells(records))
    assert points.empty
    assert growth.exponents(points).empty
    assert growth_figure.draw(points) == {}


def test_a_case_that_is_unknown_by_now_is_left_out() -> None:
    frame = tables.cells([record("tiny"), record("small")])
    assert growth.points(frame.assign(task="gone")).empty
    assert growth.points(frame.assign(variant="gone")).empty


@pytest.mark.parametrize("growth_bytes", [-1, 0, 2**20 - 1])
def test_too_little_memory_is_not_fitted(growth_bytes: int) -> None:
    little = Memory(host_before=BEFORE, host_peak=BEFORE + growth_bytes)
    (row,) = fitted([record("tiny", memory=little), record("small", memory=little), record("medium")])
    assert (row["memory_exponent"], row["memory_sizes"]) == (None, 1)
    assert row["value_sizes"] == 3


def test_seeds_count_once() -> None:
    records = [record(size, seed=seed) for size in ("tiny", "small") for seed in range(3)]
    (row,) = fitted(records)
    assert row["value_sizes"] == 2
    assert row["value_exponent"] == pytest.approx(1)


def reported(folder: Path, records: list[Record]) -> Path:
    for one in records:
        Journal(folder).append(one)
    return build.write(folder).parent


def test_the_report_shows_growth(tmp_path: Path) -> None:
    few = [record(size, backend="torch") for size in ("tiny", "small")]
    folder = reported(tmp_path, [record(size) for size in ("tiny", "small", "medium")] + few)
    html, summary = (folder / "index.html").read_text(), (folder / "summary.md").read_text()
    assert "<h2>Growth with size</h2>" in html
    assert "## Growth with size" in summary
    for text in (html, summary):
        assert "2.00 (3 sizes)" in text
        assert "2.00 (2 sizes)" in text
        assert "1.50 (3 sizes)" in text
    assert (folder / "figures" / "growth.png").exists()
    assert "![" in summary and "figures/growth.png" in summary
    csv = pd.read_csv(folder / "tables" / "growth.csv")
    assert list(csv.columns) == [
        "task", "variant", "backend", "method", "operator", "engine", "precision", "device", "extent_name", "smallest",
        "largest",
        "value_exponent", "value_sizes", "gradient_exponent", "gradient_sizes", "memory_exponent", "memory_sizes",
    ]  # fmt: skip
    assert csv["gradient_exponent"].tolist() == pytest.approx([2, 2])
    points = pd.read_csv(folder / "tables" / "growth_points.csv")
    assert list(points.columns[-6:]) == [
        "size", "extent_name", "extent", "value_median_s", "gradient_median_s", "memory_bytes",
    ]  # fmt: skip
    assert points["extent"].tolist() == [16, 256, 1024, 16, 256]
    assert points["memory_bytes"].tolist() == pytest.approx(2**20 * points["extent"] ** 1.5)


def test_without_growth_there_is_no_section(tmp_path: Path) -> None:
    folder = reported(tmp_path, [record("tiny")])
    assert "Growth with size" not in (folder / "index.html").read_text() + (folder / "summary.md").read_text()
    assert not (folder / "figures" / "growth.png").exists()
    assert pd.read_csv(folder / "tables" / "growth.csv").empty


def test_the_figure_shows_the_points() -> None:
    few: list[dict[str, Any]] = [{}, {"backend": "torch", "memory": Memory()}, {"precision": "float32"}]
    points = growth.points(tables.cells([record(size, **kind) for kind in few for size in ("tiny", "small")]))
    panels = growth_figure.draw(points)["growth"].axes
    assert [len(axes.lines) for axes in panels] == [4, 1, 2, 1]
    assert panels[0].lines[0].get_xdata() == pytest.approx([16, 256])
    assert panels[1].lines[0].get_ydata() == pytest.approx([16**1.5, 256**1.5])


def cell(task: str, method: str, ratio: float, **changes: Any) -> dict[str, Any]:
    found = {
        "task": task,
        "method": method,
        "gradient_over_value": ratio,
        "parameters": 40,
        "engine": "hand",
        "operator": "gradient",
    }
    return found | {"value_median_s": 1.0, "noisy": False} | changes


@pytest.mark.parametrize(
    ("task", "method", "goal"),
    [("qcbm", "adjoint", 4), ("trg", "reverse", 4), ("flow", "discrete", 3), ("eigensolver", "dense", 3),
     ("qcbm", "reverse", 5), ("flow", "checkpointed", 5)],
)  # fmt: skip
def test_above_its_goal_a_gradient_needs_a_reason(task: str, method: str, goal: float) -> None:
    assert goals.goal(task, method) == goal
    assert method in tasks.get(task).methods
    assert evidence.dear(cell(task, method, goal)) == ""
    assert evidence.dear(cell(task, method, goal + 0.1))


def test_a_count_explains_no_more_than_it_can() -> None:
    assert "the products alone come to 3" in evidence.dear(cell("flow", "discrete", 3.2))
    assert evidence.dear(cell("flow", "discrete", 8.0)).startswith("not explained")
    assert evidence.dear(cell("trg", "reverse", 8.0, noisy=True)).endswith("worth a look; the timing is noisy")
    assert "eager" not in evidence.dear(cell("qcbm", "parameter_shift", 80.0, engine="eager", value_median_s=1e-3))
    assert evidence.dear(cell("trg", "reverse", 4.5)).startswith("not explained")


def test_goals_and_reasons_are_shown(tmp_path: Path) -> None:
    slow = Seconds(value=[1.0] * 3, gradient=[3.5] * 3)
    folder = reported(tmp_path, [record("tiny", task="flow", variant="density", method="discrete", seconds=slow)])
    html, summary = (folder / "index.html").read_text(), (folder / "summary.md").read_text()
    assert '<td class="n over">3.50×</td><td class="n">≤ 3</td><td class="reason">each matrix product' in html
    assert "| 3.50× | 3 | each matrix product" in summary


def test_a_power_law_needs_two_sizes() -> None:
    exponent, sizes = growth.power(pd.Series([4.0, 8.0]), pd.Series([1.0, math.nan]))
    assert (math.isnan(exponent), sizes) == (True, 1)
