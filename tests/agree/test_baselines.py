"""Baselines come back bit for bit, are refused where they cannot be believed, and show what has regressed."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from diffprog import tasks
from diffprog.agree import baselines
from diffprog.agree.baselines import Baseline, Golden
from diffprog.cli.app import app
from diffprog.errors import UsageError
from diffprog.run import driver, files, golden, plan
from diffprog.spec import Arrays, Case

CASE = Case("qcbm", "gaussian", "tiny", 0)


def inputs(tmp_path: Path) -> Arrays:
    return files.load(files.write_inputs(tmp_path / "drawn", CASE))


def written(tmp_path: Path, gradient: np.ndarray | None = None, **changes: object) -> Path:
    """A folder with a baseline of one case, of a made-up gradient unless it is given."""
    entry = Golden(
        variant=CASE.variant,
        size=CASE.size,
        seed=CASE.seed,
        inputs=baselines.fingerprints(inputs(tmp_path)),
        value=1 / 3,
        derivatives={"gradient": baselines.encode(np.arange(40) / 7 if gradient is None else gradient)},
    )
    fields = {"task": CASE.task, "written": "2026-01-01", "provenance": {}, "cases": [entry]} | changes
    baselines.write(tmp_path / "kept", Baseline(**fields))  # type: ignore[arg-type]
    return tmp_path / "kept"


def test_answers_come_back_bit_for_bit(tmp_path: Path) -> None:
    found = baselines.golden(baselines.read(written(tmp_path), "qcbm"), CASE, inputs(tmp_path))
    assert found is not None
    assert found[0] == 1 / 3
    assert np.array_equal(found[1]["gradient"], np.arange(40) / 7)
    other = Case("qcbm", "gaussian", "small", 0)
    assert baselines.golden(baselines.read(tmp_path / "kept", "qcbm"), other, {}) is None


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: text[: len(text) // 2], "truncated or damaged"),
        (lambda text: b"", "truncated or damaged"),
        (lambda text: text.replace(b"0.333", b"0.334"), "edited by hand"),
        (lambda text: text.replace(b'"digest": "', b'"digest": "0'), "edited by hand"),
        (lambda text: text.replace(b'"schema": 1', b'"schema": 2'), "newer schema, 2; this suite reads version 1"),
        (lambda text: text.replace(b'"schema": 1', b'"schema": 0'), "older schema, 0"),
        (lambda text: text.replace(b'"task": "qcbm"', b'"task": 7'), "truncated or damaged"),
    ],
)
def test_what_cannot_be_believed_is_refused(tmp_path: Path, spoil: object, told: str) -> None:
    path = baselines.path(written(tmp_path), "qcbm")
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(UsageError, match=told):
        baselines.read(tmp_path / "kept", "qcbm")


def test_a_missing_and_a_stale_baseline_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="diffprog baseline write"):
        baselines.read(tmp_path, "trg")
    kept = baselines.read(written(tmp_path), "qcbm")
    moved = inputs(tmp_path)
    moved["params"] = np.nextafter(moved["params"], 9)
    assert baselines.golden(kept, CASE, moved) is not None  # another CPU's last bit
    moved["params"][[3, 4]] = moved["params"][[4, 3]]
    with pytest.raises(UsageError, match="stale"):
        baselines.golden(kept, CASE, moved)


@pytest.mark.parametrize(("operator", "shape"), [("gradient", (40,)), ("hvp", (40,)), ("jvp", ())])
def test_a_regression_names_component_and_size(operator: str, shape: tuple[int, ...]) -> None:
    right = {"gradient": np.ones(40), operator: np.ones(shape).reshape(-1)}
    found: Arrays = {"value": np.asarray(0.5), operator: np.ones(shape)}
    assert baselines.compare(CASE, "cell", operator, found, (0.5, right), 1e-12) == []
    worse = found[operator].copy().reshape(-1)
    worse[-1] += 1e-3
    (one,) = baselines.compare(CASE, "cell", operator, found | {operator: worse.reshape(shape)}, (0.5, right), 1e-12)
    assert one.error == pytest.approx(1e-3 / np.sqrt(40))  # a jvp too is relative to the norm of the gradient
    layout = tasks.get("qcbm").layout(tasks.get("qcbm").configure("gaussian", "tiny"))
    assert one.component == ("" if operator == "jvp" else layout.name_of(39))
    assert f"the {operator} is off the baseline by 1.58e-04" in str(one)


def test_values_shapes_and_nan_regress_too() -> None:
    right = (0.5, {"gradient": np.ones(40)})
    for wrong in ({"value": np.asarray(0.6)}, {"gradient": np.ones(39)}, {"gradient": np.full(40, np.nan)}):
        found = {"value": np.asarray(0.5), "gradient": np.ones(40)} | wrong
        assert len(baselines.compare(CASE, "cell", "gradient", found, right, 1e-12)) == 1


def test_an_unwritable_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    with pytest.raises(UsageError, match="cannot be written"):
        written(tmp_path)


def test_written_and_checked_through_workers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a user does it: write, check, and check again after the gradient has changed in one component."""
    kept, arguments = tmp_path / "kept", ["baseline", "check", "--task", "qcbm", "--backend", "numpy"]
    chosen = golden.cases(["qcbm"], ["tiny"])
    golden.write(kept, tmp_path / "work", chosen, driver.Settings(samples=0), lambda what, cell: None)
    arguments += ["--baselines", str(kept)]
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    assert ended.value.code == 0
    assert "numpy: 15 cells against the baselines, 0 regressed" in capsys.readouterr().out

    baseline = baselines.read(kept, "qcbm")
    (entry,) = [one for one in baseline.cases if one.variant == CASE.variant]
    gradient = baselines.decode(entry.derivatives["gradient"]).copy()
    gradient[7] *= 1.01
    entry = msgspec.structs.replace(entry, derivatives=entry.derivatives | {"gradient": baselines.encode(gradient)})
    cases = [entry if one.variant == CASE.variant else one for one in baseline.cases]
    baselines.write(kept, msgspec.structs.replace(baseline, cases=cases))
    with pytest.raises(SystemExit) as ended:
        app([*arguments, "--operator", "gradient"])
    assert ended.value.code == 1
    told = capsys.readouterr().err
    layout = tasks.get("qcbm").layout(tasks.get("qcbm").configure("gaussian", "tiny"))
    assert f"worst at {layout.name_of(7)}" in told
    assert "qcbm-gaussian-tiny-seed0/numpy-hand-reverse-gradient" in told


def test_the_committed_baselines_are_sound() -> None:
    """They can be read, are not stale, and hold every task."""
    folder = Path(__file__).parents[2] / "reports" / "baselines"
    for name in tasks.NAMES:
        kept = baselines.read(folder, name)
        assert {one.variant for one in kept.cases} == set(tasks.get(name).variants)
        for one in kept.cases:
            case = Case(name, one.variant, one.size, one.seed)
            task = tasks.get(name)
            drawn = task.draw(task.configure(case.variant, case.size), case.seed)
            drawn["directions"] = files.directions(drawn["params"].size, case)
            found = baselines.golden(kept, case, drawn)
            assert found is not None
            assert set(found[1]) == set(golden.OPERATORS)
            assert all(np.isfinite(array).all() for array in found[1].values())
    assert json.loads((folder / "trg.json").read_text())["provenance"]["suite"]


def test_a_request_that_no_baseline_knows_is_told(tmp_path: Path) -> None:
    request = plan.Request(tasks=("qcbm",), sizes=("large",), backends=("numpy",))
    with pytest.raises(UsageError, match="none of the cases"):
        golden.check(written(tmp_path), tmp_path / "w", request, driver.Settings(), lambda n: lambda what, cell: None)


@pytest.mark.parametrize("missing", ["variant", "jvp", "gradient"])
def test_a_baseline_that_lacks_something_does_not_pass(tmp_path: Path, missing: str) -> None:
    """What is not there cannot have been compared."""
    folder = Path(__file__).parents[2] / "reports" / "baselines"
    baseline = baselines.read(folder, "qcbm")
    kept = [one for one in baseline.cases if missing != "variant" or one.variant != "gaussian"]
    for index, one in enumerate(kept):
        derivatives = {name: text for name, text in one.derivatives.items() if name != missing}
        kept[index] = msgspec.structs.replace(one, derivatives=derivatives)
    baselines.write(tmp_path, msgspec.structs.replace(baseline, cases=kept))
    request = plan.Request(tasks=("qcbm",), backends=("numpy",), operators=("gradient", "jvp"))
    told = "lacks qcbm-gaussian-tiny-seed0" if missing == "variant" else f"lacks its {missing}"
    with pytest.raises(UsageError, match=f"{told}: `diffprog baseline write` makes a whole one"):
        golden.check(tmp_path, tmp_path / "w", request, driver.Settings(samples=0), lambda n: lambda what, cell: None)
