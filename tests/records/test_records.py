"""The journal loses nothing: torn lines, full disks, other schemas."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from diffprog.errors import UsageError
from diffprog.records.cells import FILE, Journal, Record


def record(**changes: object) -> Record:
    common: dict[str, object] = {
        "task": "flow",
        "variant": "density",
        "size": "tiny",
        "seed": 0,
        "backend": "numpy",
        "method": "discrete",
        "operator": "gradient",
        "engine": "hand",
        "precision": "float64",
        "device": "cpu",
        "outcome": "ok",
    }
    return Record(**(common | changes))  # type: ignore[arg-type]


def test_records_come_back_as_they_were_and_the_last_of_a_cell_wins(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(record(outcome="crashed", reason="a\nb"))
    journal.append(record(backend="torch", value=0.1))
    journal.append(record(value=1 / 3))
    assert journal.read() == [record(value=1 / 3), record(backend="torch", value=0.1)]


def test_a_torn_last_line_is_told_and_then_set_aside(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(record())
    with journal.path.open("ab") as file:
        file.write(b'{"schema": 1, "task": "fl')
    with pytest.raises(UsageError, match="truncated line"):
        journal.read()
    assert journal.read(mend=True) == [record()]
    assert (tmp_path / (FILE + ".torn")).read_bytes() == b'{"schema": 1, "task": "fl'
    journal.append(record(backend="jax"))
    assert len(journal.read()) == 2


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"schema": 2}', "line 2: not a record"),
        ("nonsense", "line 2: not a record"),
        ('{"schema": 3, "new": 1}', "schema version 3; this suite reads version 2"),
    ],
)
def test_damaged_and_foreign_lines_are_refused_with_their_number(tmp_path: Path, line: str, told: str) -> None:
    journal = Journal(tmp_path)
    journal.append(record())
    with journal.path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UsageError, match=told):
        journal.read(mend=True)


def test_a_folder_without_records_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not the folder of a run"):
        Journal(tmp_path).read()


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    journal.append(record())
    kept = journal.path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match=r"No space left.*earlier records are kept"):
        journal.append(record(backend="torch"))
    assert journal.path.read_bytes() == kept
