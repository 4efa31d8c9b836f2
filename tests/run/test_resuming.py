"""A run goes on only with what belongs to it: the same machine, versions, code and settings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from diffprog.errors import UsageError
from diffprog.records.cells import Journal, Provenance, Rates, Record
from diffprog.run import driver, plan, roofline

REQUEST = plan.Request(("flow",), ("quadratic",), backends=("numpy",), methods=("discrete", "checkpointed"))
KEY = roofline.Key("numpy", "cpu", "float64", 1)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two cells."""
    folder = tmp_path_factory.mktemp("done") / "run"
    running = driver.Run(folder, driver.Settings(seconds=0.0))
    running.start(resume=False)
    assert [record.outcome for record in running.run(plan.cells(REQUEST))] == ["ok", "ok"]
    return folder


@pytest.fixture
def changed(done: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the run, one of its two records, or both, as if they came from elsewhere."""
    from shutil import copytree

    def change(count: int = 2, **what: object) -> Path:
        folder = tmp_path / "run"
        copytree(done, folder)
        records = Journal(folder).read()
        for index in range(count):
            origin = records[index].provenance
            assert origin is not None
            new = msgspec.structs.replace(origin, **what)
            records[index] = msgspec.structs.replace(records[index], provenance=new)
        (folder / "records.jsonl").write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
        return folder

    return change


def resumed(folder: Path, *, remeasure: bool = False, threads: int = 1) -> list[Record]:
    running = driver.Run(folder, driver.Settings(seconds=0.0, threads=threads))
    running.start(resume=True, remeasure=remeasure)
    return running.run(plan.cells(REQUEST))


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ({"host": "elsewhere"}, "host was elsewhere and is "), ({"cpu": "M9"}, "CPU was M9"),
        ({"cores": 999}, "number of processors was 999"), ({"threads": 7}, "--threads was 7 and is 1"),
        ({"platform": "Plan9"}, "platform was Plan9"), ({"suite": "0.0.1"}, r"suite was 0\.0\.1"),
        ({"source": "0123"}, "sources of flow was 0123"), ({"code": "0123"}, "suite's own code was 0123"),
        ({"versions": {"numpy": "1.0", "python": "3.11.0"}}, r"Python was 3\.11\.0 and is .*; numpy was 1\.0 and is"),
        ({"versions": {"numpy": "1.0"}}, r"numpy was 1\.0"),
        ({"worker": "other program"}, "worker was other program and is the suite's own"),
        ({"environment": {"LD_LIBRARY_PATH": "/x"}}, "variable LD_LIBRARY_PATH was /x and is not set"),
    ],
)  # fmt: skip
def test_what_comes_from_elsewhere_is_refused_by_name(
    changed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, what: dict[str, object], told: str
) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    folder = changed(**what)
    with pytest.raises(UsageError, match=rf"2 of the 2 records in .* do not belong to this run: {told}.*--remeasure"):
        resumed(folder)


def test_what_belongs_to_the_run_is_kept(changed: Callable[..., Path]) -> None:
    folder = changed(0)
    assert resumed(folder) == Journal(folder).read()
    older = {record.cell.name: record for record in Journal(folder).read()}
    assert {record.cell.name: record for record in resumed(folder, remeasure=True)} == older


def test_it_is_measured_again_on_demand_and_nothing_is_lost(changed: Callable[..., Path]) -> None:
    folder = changed(1, host="elsewhere")
    before = {record.cell.name: record for record in Journal(folder).read()}
    book = roofline.Book(folder, "elsewhere, M9")
    book.note(KEY, Rates(bandwidth=1.0, flops=1.0))
    after = {record.cell.name: record for record in resumed(folder, remeasure=True)}
    again = [name for name, record in after.items() if record != before[name]]
    assert len(again) == 1
    assert {record.provenance and record.provenance.host for record in after.values()} != {"elsewhere"}
    assert {record.cell.name for record in Journal(folder).read()} == set(after)
    aside = (folder / "records-set-aside.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=Record) for line in aside] == [before[again[0]]]


def test_a_cell_that_is_not_asked_for_now_is_not_left_among_the_others(changed: Callable[..., Path]) -> None:
    folder = changed(2, host="elsewhere")
    running = driver.Run(folder, driver.Settings(seconds=0.0))
    running.start(resume=True, remeasure=True)
    assert Journal(folder).read() == []


def test_another_machines_rates_are_not_this_ones(tmp_path: Path) -> None:
    roofline.Book(tmp_path, "A").note(KEY, Rates(bandwidth=1.0, flops=1.0))
    assert roofline.Book(tmp_path, "B").get(KEY) is None
    assert roofline.Book(tmp_path, "A").get(KEY) == Rates(bandwidth=1.0, flops=1.0)


def test_another_command_is_another_worker(tmp_path: Path) -> None:
    """Whose the numbers are is not said by the name alone."""
    script = str(Path(__file__).with_name("foreign_worker.py"))
    chosen = plan.cells(
        plan.Request(("flow",), ("quadratic",), backends=("squire",), methods=("discrete",), others=("squire",))
    )
    for command, refused in (([script], False), ([script], False), ([script, "--fast"], True)):
        running = driver.Run(tmp_path, driver.Settings(seconds=0.0, workers={"squire": [sys.executable, *command]}))
        if refused:
            with pytest.raises(UsageError, match=r"worker was .*foreign_worker.py and is .*foreign_worker.py --fast"):
                running.start(resume=True)
        else:
            running.start(resume=True)
            assert [record.outcome for record in running.run(chosen)] == ["ok", "ok"]


def test_records_of_older_versions_have_no_hash_of_the_code() -> None:
    assert Provenance(suite="", commit="", source="", host="", cpu="", cores=1, threads=1).code == ""
