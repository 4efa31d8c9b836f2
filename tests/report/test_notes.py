"""What may have touched the numbers is told; the user's own pages stay."""

from __future__ import annotations

import os
from pathlib import Path
from shutil import copytree

import msgspec
import numpy as np
import pytest

from diffprog.errors import UsageError
from diffprog.records.cells import Journal
from diffprog.report import build
from diffprog.report.run.notes import notes
from diffprog.run import driver, plan


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done") / "run"
    running = driver.Run(folder, driver.Settings(samples=0, seconds=0.0))
    running.start(resume=False)
    running.run(plan.cells(plan.Request(("flow",), ("quadratic",), backends=("numpy",))))
    return folder


def changed(done: Path, folder: Path, **what: object) -> Path:
    """A copy of the run with another provenance."""
    copytree(done, folder)
    journal = Journal(folder)
    for record in journal.read():
        assert record.provenance is not None
        provenance = msgspec.structs.replace(record.provenance, **what)
        journal.append(msgspec.structs.replace(record, provenance=provenance))
    return folder


def test_variables_caches_and_contention_are_on_the_page(done: Path, tmp_path: Path) -> None:
    kept = {"JAX_COMPILATION_CACHE_DIR": "/c", "CXX": "<b>c++"}
    folder = changed(done, tmp_path / "run", environment=kept, contended=True)
    text = build.write(folder).read_text()
    assert "JAX_COMPILATION_CACHE_DIR=/c; CXX=&lt;b&gt;c++ (numpy)" in text.replace(" (numpy); CXX", "; CXX")
    assert "what was compiled before: JAX_COMPILATION_CACHE_DIR was kept" in text
    assert "measured on a processor that another run had claimed too" in text


@pytest.mark.parametrize("damage", ["cut", "gone", "inputs", "pipe", "deflated", "another's"])
def test_arrays_that_are_damaged_are_told(done: Path, tmp_path: Path, damage: str) -> None:
    folder = changed(done, tmp_path / "run", environment={}, contended=False)
    records = Journal(folder).read()
    assert notes(folder, records) == []
    path = folder / records[0].arrays
    if damage == "inputs":
        path = path.parent / "inputs.npz"
    if damage in ("gone", "pipe"):
        path.unlink()
    if damage == "pipe":  # opening it would wait for ever
        os.mkfifo(path)
    elif damage == "deflated":  # what zlib raises is no ValueError
        found = dict(np.load(path))
        np.savez_compressed(path, **found)
        content = bytearray(path.read_bytes())
        start = content.find(b"gradient.npy") + 32
        content[start : start + 20] = bytes(byte ^ 0xA5 for byte in content[start : start + 20])
        path.write_bytes(content)
    elif damage == "another's":  # whole, but no answer to this cell
        np.savez(path, **dict(np.load(path)) | {"gradient": np.zeros(2)})
    elif damage != "gone":
        path.write_bytes(path.read_bytes()[:200])
    (told,) = notes(folder, records)
    what = "Missing or damaged, and so left out of pairs and pictures"
    if damage == "another's":
        what = "Not the answers that their records are of"
    assert told.startswith(f"{what}: {path.relative_to(folder)}")
    assert what in build.write(folder).read_text()


@pytest.mark.parametrize("name", ["summary.md", "index.html"])
def test_a_page_of_the_users_is_not_written_over(done: Path, tmp_path: Path, name: str) -> None:
    folder = changed(done, tmp_path / "run")
    build.write(folder)
    build.write(folder)  # the suite's own is
    (folder / name).write_text("# My summary\n")
    with pytest.raises(UsageError, match=f"{name} is not the suite's"):
        build.write(folder)
    assert (folder / name).read_text() == "# My summary\n"


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("reports/reference/*/*.html")))
def test_pages_of_older_versions_are_known(path: Path) -> None:
    from diffprog.report import ownership

    ownership.check(path)
    summary = path.with_name("summary.md")
    if summary.exists():
        ownership.check(summary)
