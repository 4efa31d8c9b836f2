"""The report of synthetic runs: right numbers, whole pages, nothing hidden and nothing executed."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from diffprog import format, tasks
from diffprog.drawing import style
from diffprog.errors import UsageError
from diffprog.records.cells import FILE, Agreement, Errors, Journal, Memory, Provenance, Record, Seconds
from diffprog.report import arrays, build, rendering, terminal
from diffprog.report.run import evidence, figures, ladder, pictures, tables
from diffprog.spec import OUTCOMES, Case
from diffprog.tasks.trg import exact

QCBM = Case("qcbm", "gaussian", "tiny", 0)
BARS = Case("qcbm", "bars_and_stripes", "tiny", 0)
FLOW = Case("flow", "density", "tiny", 0)
LEVELS = Case("eigensolver", "spectrum", "tiny", 0)
STATE = Case("eigensolver", "ground_state", "tiny", 0)
ISING = Case("trg", "classic", "tiny", 0)
RANDOM_ISING = Case("trg", "disordered", "tiny", 0)
TABLES = ("cells", "samples", "pairs", "growth", "growth_points")
SECONDS = Seconds(
    import_=0.5, setup=0.01, first_value=0.2, first_gradient=0.3, loops_value=10, loops_gradient=5,
    value=[0.010, 0.011, 0.012, 0.013, 0.014], by_hand_value=[0.010, 0.010, 0.010, 0.010, 0.010],
    gradient=[0.030, 0.031, 0.030, 0.030, 0.031], by_hand_gradient=[0.030, 0.031, 0.030, 0.030, 0.031],
)  # fmt: skip
OFF = Errors(relative_l2=2e-6, max_rho=1e-6, cosine=1.0, worst=2, worst_name="layer0[1,0]")
MALICE = "<script>alert('x')</script> & *more* | {{ 7 }}"
ORIGIN = Provenance(
    suite="0.1.0", commit="abc", source="0123456789abcdef", host="here", cpu="Some CPU", cores=2, threads=1,
    versions={"numpy": "2.0"}, switches={"x64": "on"},
)  # fmt: skip


def record(case: Case = QCBM, backend: str = "numpy", **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "method": tasks.get(case.task).reference_method(case.variant), "operator": "gradient", "precision": "float64",
        "device": "cpu", "outcome": "ok",
        "engine": tasks.engine(backend, case.task, changes.get("operator", "gradient")),
    }  # fmt: skip
    named: dict[str, Any] = {
        "task": case.task,
        "variant": case.variant,
        "size": case.size,
        "seed": case.seed,
        "backend": backend,
    }
    return Record(**named | fields | changes)


def agreement(relative_l2: float | None = 0.0, reference: str = "ref", **changes: Any) -> Agreement:
    found = Errors(relative_l2=relative_l2, max_rho=relative_l2, cosine=1.0, worst=3, worst_name="layer0[1,1]")
    fields: dict[str, Any] = {"reference": reference, "value": 0.0, "gradient": found, "tolerance": 1e-12}
    return Agreement(**fields | changes)


def computed(case: Case = QCBM, backend: str = "numpy", error: float = 0.0, **changes: Any) -> Record:
    reference = "itself" if backend == "numpy" else "numpy-reverse-gradient-float64-cpu"
    measured: dict[str, Any] = {
        "agreement": agreement(error, reference), "seconds": SECONDS, "provenance": ORIGIN, "parameters": 40,
        "invariants": {"cnots": 12}, "memory": Memory(host_before=2**20, host_peak=300 * 2**20), "made_with": "NumPy",
        "started": "2025-01-02T03:04:05Z", "value": 0.25,
    }  # fmt: skip
    return record(case, backend, **measured | changes)


def save(folder: Path, records: list[Record], *, noise: dict[str, float] | None = None) -> Path:
    """Writes the records, and real inputs and results for those that computed something, by backend slightly off."""
    folder.mkdir(exist_ok=True)
    journal = Journal(folder)
    for one in records:
        journal.append(one)
        case = one.cell.case
        task = tasks.get(case.task)
        config = task.configure(case.variant, case.size)
        inputs = task.draw(config, case.seed)
        home = folder / "arrays" / case.key
        home.mkdir(parents=True, exist_ok=True)
        np.savez(home / "inputs.npz", **inputs)  # type: ignore[arg-type]
        if one.outcome in arrays.COMPARABLE:
            theta = inputs.pop("params")
            functions = tasks.functions(case.task, "numpy", config, one.method)
            value, gradient = functions.gradient(theta, inputs)
            off = 1 + (noise or {}).get(one.backend, 0.0)
            results = {"value": value, "gradient": off * gradient} | functions.outputs(theta, inputs)
            np.savez(home / f"{one.cell.key}.npz", **results)
    return folder


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with every outcome, reported."""
    folder = tmp_path_factory.mktemp("mixed")
    records = [
        *(computed(case, backend) for case in (QCBM, BARS, FLOW) for backend in ("numpy", "torch")),
        computed(QCBM, "jax", 1e-3, outcome="disagrees", reason="the gradient is off by 1.00e-03"),
        record(FLOW, "jax", outcome="crashed", reason="the worker died of signal 11"),
        record(BARS, "jax", outcome="timed_out", reason="no answer within 60 s"),
        record(QCBM, "torch", method="adjoint", outcome="error", reason=MALICE),
        record(QCBM, "jax", method="adjoint", outcome="out_of_memory", reason="needs 9 GiB"),
        record(QCBM, "torch", precision="float32", outcome="unsupported", reason="no such method"),
        *(
            record(case, "julia", outcome="unavailable", reason="Julia is not installed", mend="diffprog setup-julia")
            for case in (QCBM, FLOW)
        ),
    ]
    (folder / "environment.json").write_text('{"python": "<b>3.12</b>"}')
    save(folder, records, noise={"jax": 1e-3})
    before = (folder / FILE).read_bytes()
    assert build.write(folder) == folder / "index.html"
    assert (folder / FILE).read_bytes() == before
    return folder


def test_everything_is_written(mixed: Path) -> None:
    made = {str(path.relative_to(mixed)) for path in mixed.rglob("*") if path.is_file() and "arrays" not in path.parts}
    names = ["times", "ratios", "agreement", "harness", QCBM.key, BARS.key, FLOW.key]
    assert made == {
        FILE, "environment.json", "index.html", "summary.md",
        *(f"tables/{name}.{kind}" for name in TABLES for kind in ("csv", "parquet")),
        *(f"figures/{name}.{kind}" for name in names for kind in ("png", "svg")),
    }  # fmt: skip
    csv = pd.read_csv(mixed / "tables" / "cells.csv")
    parquet = pd.read_parquet(mixed / "tables" / "cells.parquet")
    assert list(csv.columns) == list(parquet.columns)
    assert len(csv) == len(parquet) == 14
    assert csv["gradient_median_s"].dropna().tolist() == parquet["gradient_median_s"].dropna().tolist()


def test_the_page_is_self_contained(mixed: Path) -> None:
    text = (mixed / "index.html").read_text()
    sources = re.findall(r"""(?:src|href|srcset|action|data)\s*=\s*["']?([^"'\s>]+)""", text)
    assert len(sources) == 7
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"https?://|@import|url\(|<script|<link|<iframe", text)


def test_the_page_shows_all_outcomes_and_reasons(mixed: Path) -> None:
    text = (mixed / "index.html").read_text()
    for outcome in OUTCOMES:
        assert f" {format.words(outcome)}</span>" in text
    for reason in ("the worker died of signal 11", "no answer within 60 s", "needs 9 GiB", "no such method"):
        assert reason in text
    assert "<code>diffprog setup-julia</code>" in text
    assert "6 of 11 cells agree with the reference; 1 disagrees; 1 error; 1 timed out; 1 crashed;" in text
    assert '<section class="verdict bad">' in text


def test_a_disagreeing_cell_is_flagged(mixed: Path) -> None:
    text = (mixed / "index.html").read_text()
    (row,) = [row for row in text.split("<tr")[1:] if "✗ disagrees" in row]
    assert row.startswith(' class="alarm"')
    assert '<td class="n over">1.0e-03</td>' in row
    assert "**disagrees**" in (mixed / "summary.md").read_text()


def test_text_from_records_is_never_markup(mixed: Path) -> None:
    html, markdown = (mixed / "index.html").read_text(), (mixed / "summary.md").read_text()
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; *more* | {{ 7 }}" in html
    assert "&lt;b&gt;3.12&lt;/b&gt;" in html
    assert "<script" not in markdown
    assert r"&lt;script&gt;alert('x')&lt;/script&gt; &amp; \*more\* \| \{\{ 7 \}\}" in markdown
    lines = [line for line in markdown.splitlines() if line.startswith(f"| {QCBM.key}".replace("_", r"\_"))]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {8, 12}


def test_statistics_of_the_samples() -> None:
    row = tables.cells([computed()]).iloc[0]
    assert row["value_median_s"] == 0.012
    assert row["value_min_s"] == 0.010
    assert row["value_iqr_s"] == pytest.approx(0.013 - 0.011)
    assert row["gradient_median_s"] == 0.030
    assert row["gradient_iqr_s"] == pytest.approx(0.001)
    assert row["gradient_over_value"] == 0.030 / 0.012
    assert row["value_harness_tax"] == 0.012 / 0.010
    assert row["gradient_harness_tax"] == 1.0
    assert (row["value_noisy"], row["gradient_noisy"], row["noisy"]) == (True, False, True)
    assert (row["host_peak_bytes"], row["import_s"], row["first_gradient_s"]) == (300 * 2**20, 0.5, 0.3)


def test_what_was_not_measured_is_missing() -> None:
    frame = tables.cells([record(outcome="crashed")])
    assert set(frame.columns) == set(tables.cells([computed()]).columns)
    assert frame[["value_median_s", "gradient_over_value", "host_peak_bytes", "tolerance"]].isna().all(axis=None)
    assert not frame["noisy"].any()


def test_a_gradient_without_a_finite_error_exceeds_any_tolerance() -> None:
    frame = tables.cells([computed(backend="torch", agreement=agreement(None), outcome="disagrees")])
    assert frame["gradient_relative_l2"].tolist() == [math.inf]
    (rung,) = ladder.rungs(frame, tables.pairs([], Path()))
    assert not rung.passed


def test_samples_are_all_there() -> None:
    frame = tables.samples([computed(), record(backend="jax", outcome="crashed")])
    assert len(frame) == 5 + 5 + 5 + 5
    harness = frame[(frame["quantity"] == "value") & (frame["source"] == "harness")]
    assert harness["sample_s"].tolist() == SECONDS.value
    assert set(harness["loops"]) == {10}


def test_pairs_are_relative_to_the_reference(tmp_path: Path) -> None:
    records = [computed(backend="jax"), computed(backend="numpy"), record(backend="torch", outcome="crashed")]
    found = {"numpy": np.array([3.0, 4.0]), "jax": np.array([3.0, 4.5])}
    home = tmp_path / "arrays" / QCBM.key
    home.mkdir(parents=True)
    for one in records[:2]:
        np.savez(home / f"{one.cell.key}.npz", gradient=found[one.backend])
    (home / f"{records[2].cell.key}.npz").write_bytes(b"PK damaged")
    (row,) = rendering.rows(tables.pairs(records, tmp_path))
    assert (row["first"], row["second"]) == ("numpy · reverse", "jax · reverse")
    assert row["relative_l2"] == 0.5 / 5.0
    assert row["tolerance"] == 1e-12


@pytest.mark.parametrize(
    ("second", "expected"),
    [([1.0, 2.0], 0.0), ([1.0, math.nan], math.inf), ([1.0], math.inf), ([1.0, math.inf], math.inf)],
)
def test_relative_l2(second: list[float], expected: float) -> None:
    assert tables.difference(np.array([1.0, 2.0]), np.array(second))[0] == expected


def test_relative_l2_of_zeros() -> None:
    assert tables.difference(np.zeros(2), np.zeros(2))[0] == 0.0
    assert tables.difference(np.zeros(2), np.ones(2))[0] == math.inf


def test_rungs_name_the_cell_nearest_to_its_tolerance() -> None:
    records = [
        computed(agreement=agreement(0.0, "itself", finite_differences=1e-9, finite_differences_tolerance=1e-7)),
        computed(backend="torch", error=1e-14),
        computed(backend="jax", error=3e-12, outcome="disagrees"),
        computed(backend="torch", precision="float32", agreement=agreement(1e-6, tolerance=1e-5, closed_form=OFF)),
    ]
    found = {rung.name: rung for rung in ladder.rungs(tables.cells(records), tables.pairs([], Path()))}
    assert list(found) == [
        "closed form, float32", "finite differences", "backend against reference, float64",
        "float32 against float64",
    ]  # fmt: skip
    worst = found["backend against reference, float64"]
    assert (worst.worst, worst.worst_cell, worst.cells, worst.passed) == (3e-12, "jax · reverse · cpu", 2, False)
    assert found["float32 against float64"].passed


def test_unequal_work_is_told() -> None:
    records = [computed(), computed(backend="torch", invariants={"cnots": 11}), computed(backend="jax", invariants={})]
    (count,) = evidence.invariants(records)
    assert not count.equal
    assert count.text == (
        "12: numpy · reverse · float64 · cpu; 11: torch · reverse · float64 · cpu; "
        "not reported: jax · reverse · float64 · cpu"
    )
    assert evidence.invariants([computed(), computed(backend="torch")])[0].equal


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"seconds": Seconds(value=[1e-5] * 9, gradient=[1e-4] * 9)}, "a value takes only 10.0 µs"),
        ({"seconds": Seconds(value=[1.0] * 9, gradient=[9.0] * 9)}, "not explained"),
        ({"seconds": Seconds(value=[1.0] * 9, gradient=[80.0] * 9), "method": "parameter_shift"}, "2P = 80"),
    ],
)
def test_a_dear_gradient_needs_a_reason(changes: dict[str, Any], words: str) -> None:
    (row,) = rendering.rows(tables.cells([computed(**changes)]))
    reason = evidence.dear(row)
    assert words in reason
    assert bool(words) == bool(reason)


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ([computed()], "1 of 1 cell agrees with the reference."),
        ([computed(), computed(backend="jax", outcome="disagrees")],
         "1 of 2 cells agree with the reference; 1 disagrees."),
        ([record(outcome="unavailable")], "No cell was computed; 1 unavailable (numpy)."),
    ],
)  # fmt: skip
def test_verdict(records: list[Record], sentence: str) -> None:
    assert evidence.verdict(records) == sentence


@pytest.mark.parametrize(
    "records",
    [
        [record(outcome="unavailable", reason="no", mend="do this")],
        [record(outcome="crashed")],
        [computed()],
        [computed(operator="value", seconds=Seconds(value=[0.1] * 9), agreement=agreement(gradient=None))],
        [computed(precision="float32", seconds=Seconds())],
    ],
    ids=["unavailable only", "crashed only", "one cell", "value only", "no timing"],
)
def test_small_runs_without_arrays(tmp_path: Path, records: list[Record]) -> None:
    for one in records:
        Journal(tmp_path).append(one)
    text = build.write(tmp_path).read_text()
    assert format.words(records[0].outcome) in text
    assert not list(tmp_path.glob("figures/qcbm*"))
    assert not list(tmp_path.glob("*.part"))


def test_arrays_of_another_shape_give_no_false_picture(tmp_path: Path) -> None:
    folder = save(tmp_path, [computed(), computed(backend="torch")])
    path = folder / "arrays" / QCBM.key / f"{computed(backend='torch').cell.key}.npz"
    np.savez(path, gradient=np.zeros(3), distribution=np.full(8, 0.125))
    build.write(folder)
    assert tables.pairs(Journal(folder).read(), folder)["relative_l2"].tolist() == [math.inf]
    assert (folder / "figures" / f"{QCBM.key}.png").exists()


@pytest.mark.parametrize("case", [QCBM, FLOW, LEVELS, STATE, ISING, RANDOM_ISING])
def test_nothing_finite_to_draw(tmp_path: Path, case: Case) -> None:
    folder = save(tmp_path, [computed(case)])
    path = folder / "arrays" / case.key / f"{computed(case).cell.key}.npz"
    with np.load(path) as file:
        nothing = {name: np.full_like(file[name], np.nan) for name in file.files}
    np.savez(path, **nothing)
    build.write(folder)


def pictured(folder: Path, case: Case, records: list[Record]) -> Any:
    """The picture of a case, which must have one."""
    figure = pictures.picture(folder, case, records)
    assert figure is not None
    return figure


def test_images_are_shown_in_grey_levels(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    case = Case("flow", "density", "small", 0)
    one = computed(case)
    inputs = tasks.get("flow").draw(tasks.get("flow").configure("density", "small"), 0)
    home = folder / "arrays" / case.key
    home.mkdir(parents=True)
    np.savez(home / "inputs.npz", **inputs)  # type: ignore[arg-type]
    np.savez(home / f"{one.cell.key}.npz", latent=inputs["data"], log_density=np.linspace(-300.0, -200.0, 100))
    with style.settings():
        figure = pictured(folder, case, [one])
    meshes = [mesh for part in figure.subfigs[0].subfigs for axes in part.axes for mesh in axes.collections]
    assert len(meshes) == 20
    data = np.asarray(meshes[0].get_array())
    assert data.shape == (8, 8)
    assert 0 <= data.min() < 0.1 < 0.9 < data.max() <= 1


@pytest.mark.parametrize("case", [LEVELS, STATE])
def test_levels_couplings_and_states_are_those_of_the_run(tmp_path: Path, case: Case) -> None:
    """Read back from the figure; a backend whose levels are off says by how much in the legend."""
    records = [computed(case, backend) for backend in ("numpy", "torch")]
    folder = save(tmp_path, records)
    path = folder / "arrays" / case.key / f"{records[1].cell.key}.npz"
    found = arrays.results(folder, records[0])
    assert found is not None
    np.savez(path, **(found | {"energies": found["energies"] + 0.5}))  # type: ignore[arg-type]
    given = arrays.inputs(folder, case)
    assert given is not None
    with style.settings():
        figure = pictured(folder, case, records)
    levels, couplings, *below = figure.axes
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "torch: within 5e-01 of numpy"
    offsets = [np.asarray(one.get_offsets()) for one in levels.collections]
    points = [at for at in offsets if len(at) > 1]
    np.testing.assert_allclose(points[0][:, 1], found["energies"])
    np.testing.assert_allclose(points[1][:, 1], found["energies"] + 0.5)
    drawn = {str(one.get_label()): one for one in couplings.collections}
    np.testing.assert_allclose(np.asarray(drawn["J of bond i, i+1"].get_offsets())[:, 1], given["params"][:4])
    np.testing.assert_allclose(np.asarray(drawn["h of site i"].get_offsets())[:, 1], given["params"][4:])
    if case is LEVELS:
        assert not below
        (bars,) = (one for one in levels.collections if one.get_label() == "planted levels: the target")
        np.testing.assert_allclose([np.asarray(bar.vertices)[0, 1] for bar in bars.get_paths()], given["target"])
    else:
        target, state = (np.asarray(patch.get_data().values) for patch in below[0].patches[:2])
        order = np.argsort(-np.abs(given["target"]), kind="stable")
        np.testing.assert_allclose(target, given["target"][order] ** 2)
        np.testing.assert_allclose(state, found["state"][order] ** 2)


def drawn(folder: Path, case: Case, shift: float) -> Any:
    """The picture of a case by two backends of which the second is off by ``shift``."""
    save(folder, [computed(case), computed(case, "torch")])
    path = folder / "arrays" / case.key / f"{computed(case, 'torch').cell.key}.npz"
    with np.load(path) as file:
        results = dict(file)
    np.savez(path, **results | {name: results[name] + shift for name in ("free_energy", "correlations")})
    with style.settings():
        return pictured(folder, case, Journal(folder).read())


def test_the_free_energy_is_shown_beside_onsagers(tmp_path: Path) -> None:
    figure = drawn(tmp_path, ISING, 0.25)
    theta = tasks.get("trg").draw(tasks.get("trg").configure("classic", "tiny"), 0)["params"]
    curve, ours, theirs = (line.get_xydata() for line in figure.subfigs[0].axes[0].lines[:3])
    reference = -exact.log_partition(float(theta[0]))
    assert np.interp(theta[0], *curve.T) == pytest.approx(reference, abs=1e-4)
    assert ours[0, 0] == theta[0]
    assert theirs[0, 1] == pytest.approx(ours[0, 1] + 0.25)
    labels = [text.get_text() for text in figure.subfigs[0].axes[0].get_legend().get_texts()]
    assert labels == ["Onsager, exact", "numpy (reference)", "torch: within 2e-01 of numpy"]
    lengths = [bar.get_width() for bar in figure.subfigs[1].axes[0].patches[:2]]
    assert lengths == pytest.approx([abs(ours[0, 1] - reference), abs(ours[0, 1] + 0.25 - reference)])


def test_the_correlations_of_a_random_torus_are_shown(tmp_path: Path) -> None:
    figure = drawn(tmp_path, RANDOM_ISING, 0.25)
    lattice, scatter = figure.subfigs[0].axes[:2]
    with np.load(next((tmp_path / "arrays" / RANDOM_ISING.key).glob("numpy*.npz"))) as file:
        correlations = file["correlations"]
    bonds = lattice.collections[0]
    assert np.array_equal(bonds.get_array(), correlations)
    right, down = (bonds.get_segments()[i] for i in (1, 17))  # from the site in row 0, column 1
    assert right.tolist() == [[1, 0], [2, 0]] and down.tolist() == [[1, 0], [1, 1]]
    assert scatter.lines[1].get_ydata() == pytest.approx(correlations + 0.25)
    assert figure.subfigs[1].axes[0].lines[0].get_ydata() == pytest.approx(np.full(32, 0.25))


def test_figures_leave_matplotlib_alone(tmp_path: Path) -> None:
    import matplotlib
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    build.write(save(tmp_path, [computed(), computed(backend="torch")]))
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


def test_a_figure_needs_numbers() -> None:
    none = [record(outcome="crashed")]
    assert figures.draw(tables.cells(none), tables.pairs(none, Path("nowhere"))) == {}


def test_no_records(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not the folder of a run"):
        build.write(tmp_path)
    (tmp_path / FILE).write_text("")
    with pytest.raises(UsageError, match="holds no records"):
        build.write(tmp_path)


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UsageError, match="cannot read"):
        build.write(tmp_path / "run")


@pytest.mark.parametrize("blocked", ["tables", "figures"])
def test_a_folder_that_cannot_be_written(tmp_path: Path, blocked: str) -> None:
    Journal(tmp_path).append(computed())
    (tmp_path / blocked).write_text("")
    with pytest.raises(UsageError, match="cannot write the report into"):
        build.write(tmp_path)


@pytest.mark.parametrize("width", [80, 160])
def test_terminal(mixed: Path, width: int) -> None:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(terminal.table(Journal(mixed).read()))
    text = capture.get()
    for outcome in OUTCOMES:
        assert format.words(outcome) in text
    for part in ("12.0 ms", "30.0 ms", "2.50×", "1.0e-03", "Julia is not installed", "diffprog setup-julia", "6 ok"):
        assert part in text
    assert text.count("to mend it") == 1
    assert "<script>alert('x')</script>" in text
    assert ("300 MiB" in text) == (width == 160)
    assert all(len(line) <= width for line in text.splitlines())


def test_terminal_without_records() -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(terminal.table([]))
    assert capture.get().strip() == ""


@pytest.mark.parametrize(
    ("duration", "text"),
    [(None, "\u2013"), (math.nan, "\u2013"), (0.0, "0 s"), (3e-9, "3.00 ns"), (1.234e-5, "12.3 µs"),
     (9.999e-4, "1.00 ms"), (0.0999999, "100 ms"), (0.9994, "999 ms"), (1.0, "1.00 s"), (1234.5, "1234 s")],
)  # fmt: skip
def test_seconds(duration: float | None, text: str) -> None:
    assert format.seconds(duration) == text


def test_other_numbers() -> None:
    assert format.size(3 * 2**20) == "3.0 MiB"
    assert format.size(20 * 2**30) == "20.0 GiB"
    assert format.error(0.0) == "0"
    assert format.error(3.21e-16) == "3.2e-16"
    assert format.error(math.inf) == "not finite"
    assert format.ratio(2.5) == "2.50×"
    assert format.tax(1.0004) == "1.000×"
    assert format.clip("a" * 1000) == "a" * 200 + " […] " + "a" * 200
