"""The bridge's report, from prices that are made up."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from diffprog.errors import UsageError
from diffprog.interop.price import SIZES, Price, Prices
from diffprog.report.bridge import page as bridge


def write(folder: Path, *, ours: float = 6e-6, copies: int = 0) -> Path:
    """The prices of one process and of a worker; a call in this process costs ``ours``, s, juliacall's own 2 µs."""
    shapes = [
        (way, what, n) for way in ("in_process", "juliacall") for what in ("there", "there and back") for n in SIZES
    ]
    prices = [Price(way, what, n, [1e-6 * (1 + n / 1e5)] * 9) for way, what, n in shapes]
    prices += [Price("numpy", "copy", n, [1e-9 * n] * 9) for n in SIZES]
    prices += [Price("in_process", "number", 1, [ours] * 9), Price("juliacall", "number", 1, [2e-6] * 9)]
    prices += [
        Price("in_process", "qcbm gaussian small", 10, [3e-4] * 9),
        Price("julia", "qcbm gaussian small", 10, [2e-4] * 9),
    ]
    prices += [Price("in_process", "start", 0, [4.0])]
    found = {"in_process": Prices(prices, copies, {"julia": "1.12.5"})}
    found["worker"] = Prices([Price("worker", "number", 1, [3e-5] * 9)], 0, {"julia": "1.12.5"})
    (folder / bridge.FOLDER).mkdir(parents=True)
    for way, measured in found.items():
        (folder / bridge.FOLDER / f"{way}.json").write_bytes(msgspec.json.encode(measured))
    return folder


def test_the_page_has_goals_crossings_and_programs(tmp_path: Path) -> None:
    page = bridge.write(write(tmp_path / "run")).read_text()
    assert page.count("<strong>reached</strong>") == 3
    assert "+4.0 µs" in page
    assert "1.500" in page  # of the program: 300 µs from Python, 200 µs within Julia
    assert re.search(r'src="data:image/png;base64,', page)
    assert "Not measured: in this process, own thread" in page
    summary = (tmp_path / "run" / "summary.md").read_text()
    assert "| there | in this process |" in summary
    assert (tmp_path / "run" / "tables" / "prices.csv").read_text().count("\n") > 30


def test_missed_goals_are_told(tmp_path: Path) -> None:
    write(tmp_path / "run", ours=9e-6, copies=3)
    found = bridge.goals(bridge.read(tmp_path / "run"))
    assert [goal.reached for goal in found] == [False, False, True]


def test_what_is_no_such_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no prices"):
        bridge.write(tmp_path)
    (write(tmp_path / "run") / bridge.FOLDER / "worker.json").write_text("{")
    with pytest.raises(UsageError, match="cannot read"):
        bridge.write(tmp_path / "run")
