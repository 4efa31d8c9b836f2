"""Two runs compared: planted changes are found, equal ones are left alone, and what cannot be compared is refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from diffprog.agree import timings
from diffprog.cli.app import app
from diffprog.errors import UsageError
from diffprog.records.cells import FILE, Agreement, Journal, Provenance, Record, Seconds
from diffprog.records.fits import FILE as FITS
from diffprog.report.compare import change, comparison
from diffprog.report.compare import views as comparison_views
from diffprog.report.compare.change import Options
from diffprog.spec import Arrays

ORIGIN = Provenance(
    suite="0.1.0", commit="abc", source="0123", host="here", cpu="Some CPU", cores=2, threads=1,
    versions={"numpy": "2.0"}, switches={"x64": "on"},
)  # fmt: skip
GRADIENT = np.linspace(-1.0, 1.0, 40)
TOLERANCE = 1e-12
MALICE = "<script>alert(1)</script> | *bold* `code` [link](http://x)\nnext"


def samples(seed: int, ratio: float = 1.0, spread: float = 0.02, count: int = 24) -> list[float]:
    drawn = np.random.default_rng(seed).normal(np.log(1e-3 * ratio), spread, count)
    return [float(second) for second in np.exp(drawn)]


def record(backend: str = "numpy", seed: int = 0, ratio: float = 1.0, **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "task": "qcbm", "variant": "gaussian", "size": "tiny", "seed": 0, "backend": backend, "method": "reverse",
        "operator": "gradient", "engine": "hand" if backend == "numpy" else "eager", "precision": "float64",
        "device": "cpu", "outcome": "ok", "provenance": ORIGIN, "value": 0.25,
        "agreement": Agreement(reference="itself", value=0.0, tolerance=TOLERANCE),
        "seconds": Seconds(value=samples(seed), gradient=samples(seed + 1000, ratio)),
    }  # fmt: skip
    return Record(**fields | changes)


def write(folder: Path, *records: Record, inputs: Arrays | None = None, **stored: Any) -> Path:
    """A run: ``stored`` are each cell's arrays, the gradient ``GRADIENT`` and the value 0.25 unless given."""
    folder.mkdir()
    for one in records:
        Journal(folder).append(one)
        home = folder / "arrays" / one.cell.case.key
        home.mkdir(parents=True, exist_ok=True)
        np.savez(home / "inputs.npz", **inputs or {"params": np.zeros(40)})  # type: ignore[arg-type]
        np.savez(home / f"{one.cell.key}.npz", **{"value": np.asarray(0.25), "gradient": GRADIENT} | stored)
    return folder


def moved(size: float) -> np.ndarray[Any, Any]:
    """The gradient off by ``size`` in relative L2, all of it in one component."""
    changed = GRADIENT.copy()
    changed[7] += size * np.linalg.norm(GRADIENT)
    return changed


def compare(first: Path, second: Path, **options: Any) -> comparison.Comparison:
    return comparison.compare(first, second, Options(**options))


@pytest.mark.parametrize(
    ("stored", "kind", "told"),
    [
        ({}, "same", ""),
        ({"gradient": moved(1e-14)}, "within tolerance", ""),
        ({"gradient": moved(1e-11)}, "regressed", r"the gradient moved by 1.00e-11 \(at most 1.0e-12\)"),
        ({"gradient": moved(np.nan)}, "regressed", "the gradient is not finite"),
        (
            {"gradient": GRADIENT.astype(np.float32)},
            "regressed",
            r"the gradient was float64\[40\] and is float32\[40\]",
        ),
        ({"gradient": GRADIENT[:-1]}, "regressed", r"is float64\[39\]"),
        ({"value": np.asarray(0.25 + 1e-9)}, "regressed", "the value moved by 1.00e-09"),
        ({"value": np.asarray(np.inf)}, "regressed", "the value is not finite"),
    ],
)
def test_gradients_are_compared_with_each_other(tmp_path: Path, stored: Any, kind: str, told: str) -> None:
    found = compare(write(tmp_path / "a", record()), write(tmp_path / "b", record(), **stored))
    (change,) = found.changes
    assert change.kind == kind
    assert re.search(told, change.reason)
    assert found.exit_code() == (kind == "regressed")


def test_the_worst_component_is_named_with_its_size(tmp_path: Path) -> None:
    b = write(tmp_path / "b", record(), gradient=moved(1e-13))
    (change,) = compare(write(tmp_path / "a", record()), b).changes
    assert change.worst_name == "layer0[3,1]"  # component 7
    assert change.worst == pytest.approx(1e-13 * np.linalg.norm(GRADIENT), rel=1e-2)
    assert change.relative_l2 == pytest.approx(1e-13, rel=1e-2)


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("ok", "disagrees", "regressed"), ("ok", "crashed", "regressed"), ("ok", "unsupported", "regressed"),
        ("ok", "unavailable", "lost"), ("error", "ok", "repaired"), ("unavailable", "ok", "repaired"),
        ("timed_out", "disagrees", "failing"), ("unavailable", "error", "failing"),
        ("unsupported", "unavailable", "not computed"),
    ],
)  # fmt: skip
def test_outcomes(tmp_path: Path, before: str, after: str, kind: str) -> None:
    a = write(tmp_path / "a", record(outcome=before))
    b = write(tmp_path / "b", record(outcome=after, reason="because"))
    found = compare(a, b)
    (change,) = found.changes
    assert change.kind == kind
    assert f"{before} → {after}: because" in change.reason
    assert found.exit_code() == (kind == "regressed")
    assert {time.verdict for time in change.times} == {"withheld"}


def test_what_cannot_be_compared_is_neither_same_nor_regressed(tmp_path: Path) -> None:
    a = write(tmp_path / "a", record())
    b = write(tmp_path / "b", record(), inputs={"params": np.ones(40)}, gradient=moved(1.0))
    (change,) = compare(a, b).changes
    assert (change.kind, change.reason) == ("not compared", "the inputs of the two runs differ")
    assert {time.verdict for time in change.times} == {"withheld"}
    rounded = {"params": np.linspace(0, 1, 40) * (1 + 1e-15)}  # as another CPU's LAPACK leaves it
    runs = [write(tmp_path / "d", record(), inputs={"params": np.linspace(0, 1, 40)}), tmp_path / "e"]
    assert compare(runs[0], write(runs[1], record(), inputs=rounded)).changes[0].kind == "same"
    c = write(tmp_path / "c", record())
    (c / "arrays" / record().cell.case.key / f"{record().cell.key}.npz").write_bytes(b"PK damaged")
    (change,) = compare(a, c).changes
    assert (change.kind, change.reason) == ("not compared", "the arrays of B are missing or damaged")
    assert compare(a, b).exit_code() == compare(a, c).exit_code() == 2  # it must not pass for a comparison


def test_a_jvp_is_judged_relative_to_the_gradient(tmp_path: Path) -> None:
    """‖g‖ = 3.7; the jvp itself nearly cancels, and its own size would make rounding look large."""
    jvp: dict[str, Any] = {"operator": "jvp", "seconds": Seconds()}
    small = np.asarray(1e-6)
    a = write(tmp_path / "a", record(), record(**jvp), jvp=small)
    b = write(tmp_path / "b", record(), record(**jvp), jvp=small + 1e-13)
    c = write(tmp_path / "c", record(), record(**jvp), jvp=small + 1e-10)
    assert [change.kind for change in compare(a, b).changes] == ["same", "within tolerance"]
    assert [change.kind for change in compare(a, c).changes] == ["same", "regressed"]


# Times.


@pytest.mark.parametrize("paired", [False, True])
def test_equal_distributions_give_few_false_verdicts(paired: bool) -> None:
    """200 pairs without a minimum effect: the false positives are those of the p threshold."""
    found: Counter[str] = Counter()
    for seed in range(200):
        shift = timings.shift(samples(seed), samples(10_000 + seed), paired=paired)
        assert shift.low <= shift.ratio <= shift.high
        found[timings.judge(shift, shift.p, effect=0.0)[0]] += 1
        found["covered"] += shift.low <= 1 <= shift.high
        found["with effect"] += timings.judge(shift, shift.p)[0] in ("faster", "slower")
    assert 2 <= found["faster"] + found["slower"] <= 20  # 10 are expected; 99.7 % lie within
    assert 180 <= found["covered"] <= 198
    assert found["with effect"] == 0


@pytest.mark.parametrize("count", [9, 24])
@pytest.mark.parametrize(("ratio", "verdict"), [(1.2, "slower"), (1 / 1.2, "faster"), (1.01, "same")])
def test_a_fifth_is_found_in_every_pair(ratio: float, verdict: str, count: int) -> None:
    for seed in range(40):
        a, b = samples(seed, count=count), samples(500 + seed, ratio, count=count)
        shift = timings.shift(a, b)
        assert timings.judge(shift, min(1.0, 200 * shift.p))[0] == verdict if verdict != "same" else shift.ratio < 1.05
        if count == 24:
            assert timings.judge(shift, shift.p)[0] == verdict


def test_pairs_see_what_a_drift_hides() -> None:
    """The machine slows down by half during the run: in pairs a tenth is found, unpaired it is lost."""
    drift = np.linspace(1.0, 1.5, 24)
    a, b = np.array(samples(1)) * drift, np.array(samples(2, 1.1)) * drift
    alone, together = (timings.shift(list(a), list(b), paired=paired) for paired in (False, True))
    assert timings.judge(alone, alone.p)[0] == "ambiguous"
    assert timings.judge(together, together.p) == ("slower", "")


@pytest.mark.parametrize(
    ("shift", "p", "verdict"),
    [
        (timings.Shift(1.1, 1.08, 1.12, 0.0, False, False), 0.001, "slower"),
        (timings.Shift(1.1, 1.02, 1.18, 0.0, False, False), 0.001, "slower"),
        (timings.Shift(1.1, 1.02, 1.18, 0.0, False, True), 0.001, "ambiguous"),  # noisy
        (timings.Shift(2.1, 1.90, 2.30, 0.0, False, True), 0.001, "slower"),  # noisy, and beyond doubt
        (timings.Shift(1.1, 0.99, 1.21, 0.0, False, False), 0.2, "ambiguous"),  # large, not significant
        (timings.Shift(1.04, 1.02, 1.06, 0.0, False, False), 0.001, "ambiguous"),  # significant, below the effect
        (timings.Shift(1.0, 0.9, 1.1, 0.0, False, False), 1.0, "ambiguous"),  # too few samples
        (timings.Shift(1.01, 1.00, 1.02, 0.0, False, False), 0.001, "same"),
    ],
)
def test_verdicts(shift: timings.Shift, p: float, verdict: str) -> None:
    found, why = timings.judge(shift, p)
    assert found == verdict
    assert bool(why) == (verdict == "ambiguous")


def test_p_is_adjusted_for_all_tests() -> None:
    assert timings.adjusted([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert timings.adjusted([]) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"cpu": "Another"}, "another CPU"), ({"threads": 2}, "another number of threads"),
        ({"host": "there"}, "another host"), ({"gpu": "Some GPU"}, "another GPU"),
        ({"versions": {"numpy": "2.1"}}, ""), ({"commit": "def"}, ""),
    ],
)  # fmt: skip
def test_times_of_another_machine_get_no_verdict(tmp_path: Path, change: Any, told: str) -> None:
    other = msgspec.structs.replace(ORIGIN, **change)
    a = write(tmp_path / "a", record())
    found = compare(a, write(tmp_path / "b", record(seed=1, ratio=1.5, provenance=other)))
    time = found.changes[0].times[1]
    assert (time.verdict, told in time.why) == ("withheld" if told else "slower", True)
    ((_, before, after),) = found.origins
    assert before != after
    assert found.exit_code(fail_on_slower=True) == (not told)
    assert found.exit_code() == 0


def test_one_session_is_compared_in_pairs(tmp_path: Path) -> None:
    together = msgspec.structs.replace(ORIGIN, session="one")
    a = write(tmp_path / "a", record(provenance=together), record("torch", provenance=ORIGIN))
    b = write(tmp_path / "b", record(seed=3, provenance=together), record("torch", seed=3, provenance=together))
    found = compare(a, b)
    assert [time.shift.paired for _, time in found.times] == [True, True, False, False]
    assert "taken in turn in one session (2 of 4)" in comparison_views.method(found)


# The command.


def diffprog(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_exit_codes_and_markdown(tmp_path: Path) -> None:
    a = write(tmp_path / "a", record(), record("torch"))
    b = write(tmp_path / "b", record(seed=5, ratio=1.3), record("torch", seed=7, outcome="error", reason=MALICE))
    (tmp_path / "same").mkdir()
    done = diffprog(a, write(tmp_path / "c", record(seed=5, ratio=1.3)), "--markdown", tmp_path / "same" / "x.md")
    assert done.exit_code == 0, done.output
    assert "1 slower" in done.output and "1 only in A" in done.output
    assert (tmp_path / "same" / "x.md").read_text().startswith("**✓ 1 cell in both runs: 1 same; times: 1 slower")
    assert diffprog(a, tmp_path / "c", "--fail-on", "slower").exit_code == 1
    assert diffprog(a, tmp_path / "c", "--fail-on", "slower", "--effect", "40").exit_code == 0
    done = diffprog(a, b, "--markdown", "-")
    assert done.exit_code == 1
    text = done.stdout
    assert text.startswith("**✗ 2 cells in both runs: 1 regressed, 1 same;")
    assert "<details open><summary>Gradients that changed: 1</summary>" in text
    assert "<script" not in text
    assert r"&lt;script&gt;alert(1)&lt;/script&gt; \| \*bold\* \`code\` \[link\](http://x) next |" in text
    for line in text.splitlines():
        if line.startswith("| regressed"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 6
    assert diffprog(b, a).exit_code == 0  # the other way round it is a repair


def test_a_large_run_fits_into_a_comment(tmp_path: Path) -> None:
    runs = []
    changes: dict[str, dict[str, Any]] = {"a": {}, "b": {"gradient": moved(1e-13)}}
    for name, off in changes.items():
        many = [record(seed=index, ratio=1 + 0.1 * (name == "b"), method=f"m{index}") for index in range(40)]
        runs.append(write(tmp_path / name, *many, **off))
    found = compare(*runs)
    text = comparison_views.markdown(found)
    assert len(text.splitlines()) <= 60
    assert "the first 15 of 40" in text
    assert "40 cells in both runs: 40 within tolerance; times: 40 slower, 40 same" in text


def damaged(folder: Path, old: str, new: str) -> Path:
    path = folder / FILE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return folder


REFUSED: dict[str, tuple[Any, str]] = {
    "schema": (lambda b: damaged(write(b, record()), '"schema":2', '"schema":1'), "schema version 1; this suite reads"),
    "torn": (lambda b: damaged(write(b, record()), "}\n", "}"), "truncated line"),
    "no run": (lambda b: b, "holds no records.jsonl: it is not the folder of a run"),
    "device": (
        lambda b: write(b, record(), record(device="cuda")),
        "compare what they share with --device cpu",
    ),
    "no device": (lambda b: write(b, record(device="cuda")), "so there is nothing to compare"),
    "precision": (
        lambda b: write(b, record(), record(precision="float32")),
        "compare what they share with --precision float64",
    ),
    "no cell": (lambda b: write(b, record("torch")), "have no cell in common"),
    "negative": (
        lambda b: write(b, record(seconds=Seconds(value=[1e-3, -1e-3]))),
        "has a value sample of -0.001 s: a time is positive and finite",
    ),
    "infinite": (
        lambda b: damaged(write(b, record(seconds=Seconds(value=[0.125]))), "0.125", "1e999"),
        "not a record",
    ),
    "empty": (lambda b: write(b), "holds no records"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(tmp_path: Path, name: str) -> None:
    make, told = REFUSED[name]
    a, b = write(tmp_path / "a", record()), make(tmp_path / "b")
    if name == "empty":
        (b / FILE).write_text("")
    for pair in ((a, b), (b, a)):
        with pytest.raises(UsageError) as refusal:
            compare(*pair)
        assert "\n" not in str(refusal.value)
        assert told in str(refusal.value)


def test_one_folder_and_a_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = write(tmp_path / "a", record())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="are one folder"):
        compare(a, Path("a/../a"))
    fit = tmp_path / "fit"
    fit.mkdir()
    (fit / FITS).write_text("")
    with pytest.raises(UsageError, match="is the folder of a fit"):
        compare(a, fit)
    b = write(tmp_path / "b", record(), record(device="cuda"))
    assert diffprog(a, b, "--device", "cpu").exit_code == 0  # what the refusal tells to do
    assert isinstance(diffprog(a, b, "--device", "tpu").exception, UsageError)
    assert isinstance(diffprog(a, b, "--fail-on", "faster").exception, UsageError)


def test_terminal_of_all_kinds(tmp_path: Path) -> None:
    names: Sequence[str] = ("ok", "error", "unavailable", "disagrees")
    a = write(tmp_path / "a", *(record(method=f"m{i}", outcome=name) for i, name in enumerate(names)))
    b = write(tmp_path / "b", *(record(method=f"m{i}", outcome=names[i - 1]) for i in range(4)), gradient=moved(1e-13))
    done = diffprog(a, b)
    assert done.exit_code == 1
    for part in ("1 regressed", "1 failing", "1 repaired", "ok → disagrees", "layer0[3,1] by", "8 withheld"):
        assert part in done.output


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_inputs_of_any_size_are_alike_or_not(scale: float) -> None:
    """Squares of such numbers are none: 1e-200 would be as good as 2e-200."""
    x = scale * np.arange(1.0, 4.0)
    assert change._alike(x, x * (1 + 1e-15))
    assert not change._alike(x, 2 * x)
