"""Fits through real workers: the same start, what is kept when one dies, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffprog import tasks
from diffprog.backends.find_julia import Search
from diffprog.declaration import Fit
from diffprog.errors import UsageError
from diffprog.records.fits import COMPARED, TOLERANCE, FitJournal, FitRecord
from diffprog.report import build
from diffprog.run import driver, fits

FITTABLE = tuple(name for name in tasks.NAMES if tasks.get(name).fit is not None)
QUICK_TO_COMPILE = ("flow",)
FIRST_STEPS = [
    *(
        (name, None) if name in QUICK_TO_COMPILE else pytest.param(name, None, marks=pytest.mark.thorough)
        for name in FITTABLE
    ),
    *((name, variant) for name in FITTABLE for variant in tasks.get(name).fit.minimax),  # type: ignore[union-attr]
]
"""Each with its default variant, and what is no minimisation."""
QUICK = fits.Request("qcbm", size="tiny", backends=("numpy",), steps=30)


def run(request: fits.Request, folder: Path, julia: Search | None = None) -> list[FitRecord]:
    running = fits.FitRun(folder, driver.Settings(julia=julia or Search(), time_limit=300.0))
    running.start()
    return running.run(fits.planned(request))


def test_a_fit_leaves_its_curve_its_state_and_a_page(tmp_path: Path) -> None:
    folder = tmp_path / "fit"
    adam, lbfgs = run(QUICK, folder)
    assert (adam.outcome, lbfgs.outcome) == ("ok", "ok")
    assert adam.steps_done == 30
    assert adam.first_loss == lbfgs.first_loss
    assert FitJournal(folder).read() == [adam, lbfgs]
    for fit in (adam, lbfgs):
        assert fit.first_loss is not None and fit.final_loss is not None
        assert 0 < fit.final_loss < fit.first_loss / 5
        curve = np.genfromtxt(folder / fit.curve, delimiter=",", names=True)
        assert curve["step"].tolist() == list(range(fit.steps_done + 1))
        assert (curve["loss"][0], curve["loss"][-1]) == (fit.first_loss, fit.final_loss)
        with np.load(folder / fit.arrays) as state:
            assert state["losses"].tolist() == curve["loss"].tolist()
            case = fit.case
            task = tasks.get(case.task)
            config = task.configure(case.variant, case.size)
            data = task.draw(config, case.seed)
            value = tasks.functions("qcbm", "numpy", config, fit.method).value(state["theta"], data)
            assert float(value) == pytest.approx(fit.final_loss, rel=1e-12)
    page = build.write(folder).read_text()
    assert page.count("data:image/png") == 2
    assert "30 steps done" in page


@pytest.mark.parametrize(
    ("task", "variant"),
    [(task, v) for task in FITTABLE for v in tasks.get(task).fit.variants],  # type: ignore[union-attr]
)
def test_every_fit_can_be_drawn(task: str, variant: str, tmp_path: Path) -> None:
    request = fits.Request(task, (variant,), "tiny", ("numpy",), optimisers=("adam",), steps=3)
    (fit,) = run(request, tmp_path)
    assert fit.outcome == "ok", fit.reason
    bound = fit.bound
    assert bound is None or fit.final_loss is None or bound - 5 <= fit.final_loss  # a batch scatters about its mean
    assert build.write(tmp_path).read_text().count("data:image/png") == 2


@pytest.mark.cross
@pytest.mark.parametrize(("task", "variant"), FIRST_STEPS)
@pytest.mark.parametrize("backend", ["torch", "jax", pytest.param("julia", marks=pytest.mark.julia)])
def test_the_first_adam_losses_are_the_same(
    task: str, variant: str | None, backend: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if backend == "julia":
        julia = request.getfixturevalue("julia")
    else:
        julia = None
        pytest.importorskip({"torch": "torch", "jax": "optax"}[backend])
    variants = None if variant is None else (variant,)
    chosen = fits.Request(task, variants, "tiny", ("numpy", backend), optimisers=("adam",), steps=COMPARED)
    reference, found = run(chosen, tmp_path / "fit", julia)
    assert (reference.outcome, found.outcome) == ("ok", "ok"), reference.reason + found.reason
    assert reference.deviation == 0.0
    assert found.reference == "numpy"
    assert found.deviation is not None
    assert found.deviation <= TOLERANCE
    assert found.steps_done == COMPARED
    assert found.final_loss == pytest.approx(reference.final_loss, rel=1e-7)


GAME = fits.Request("qcbm", ("adversarial",), backends=("numpy",))


def test_a_game_comes_to_rest(tmp_path: Path) -> None:
    """With all defaults: the circuit has the distribution of the data, D is ½ there, and L = −2 ln 2."""
    (fit,) = run(GAME, tmp_path)
    assert (fit.outcome, fit.optimiser, fit.size) == ("ok", "adam", "tiny")
    assert fit.ascend == ("W1", "b1", "W2", "b2")
    assert fit.saddle == pytest.approx(-2 * np.log(2))
    assert fit.bound is None
    assert fit.final_loss == pytest.approx(fit.saddle, abs=1e-3)
    assert fit.first_loss is not None and fit.final_loss is not None
    assert fit.first_loss < fit.final_loss  # and nothing calls that a failure
    with (
        np.load(tmp_path / fit.arrays) as state,
        np.load(tmp_path / "arrays" / fit.case.key / "fit-inputs.npz") as given,
    ):
        target = given["target"]
        assert np.abs(state["distribution"] - target).sum() / 2 < 0.05
        assert state["discriminator"][target > 0] == pytest.approx(0.5, abs=0.02)
        assert set(given["fit_pace"]) == {1.0, -10.0}
        assert (given["fit_pace"] > 0).sum() == 40
    page = build.write(tmp_path).read_text()
    assert "a minimax: W1, b1, W2, b2 ascend at 10 times the rate" in page
    assert "exact lower bound" not in page
    assert page.count("data:image/png") == 2


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(1, 10))
def test_so_it_does_from_other_starts(seed: int, tmp_path: Path) -> None:
    (fit,) = run(replace(GAME, seed=seed), tmp_path)
    with (
        np.load(tmp_path / fit.arrays) as state,
        np.load(tmp_path / "arrays" / fit.case.key / "fit-inputs.npz") as given,
    ):
        assert np.abs(state["distribution"] - given["target"]).sum() / 2 < 0.05


def test_the_blocks_of_a_game_must_move_against_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were all to descend, the discriminator would help the circuit, and the loss fall without end."""
    monkeypatch.setattr(fits, "paces", lambda layout, game: np.ones(layout.size))
    (fit,) = run(replace(GAME, steps=500), tmp_path)
    assert fit.final_loss is not None and fit.saddle is not None
    assert fit.final_loss < fit.saddle - 1


def test_a_curve_that_goes_its_own_way_disagrees(tmp_path: Path) -> None:
    running = fits.FitRun(tmp_path / "fit", driver.Settings())
    running.start()
    one, other = fits.planned(replace(QUICK, backends=("numpy", "torch"), optimisers=("adam",)))
    running._finish(one, [1.0, 0.5], outcome="ok")
    running._finish(other, [1.0, 0.5 + 1e-7], outcome="ok")
    assert [record.outcome for record in running.records] == ["ok", "disagrees"]
    assert "2.0e-07 from those of numpy" in running.records[1].reason
    assert fits.exit_code(running.records) == 1


def test_deviation() -> None:
    assert fits.deviation([1.0, 2.0, 9.0], [1.0, 2.5]) == pytest.approx(0.2)
    assert fits.deviation([0.0], [0.0]) == 0
    assert fits.deviation([1e-300], [0.0]) == np.inf


def test_a_loss_that_is_not_finite_ends_the_fit_with_the_step(tmp_path: Path) -> None:
    request = fits.Request("flow", size="tiny", backends=("numpy",), optimisers=("adam",), steps=50, rate=1e200)
    (fit,) = run(request, tmp_path / "fit")
    assert fit.outcome == "error"
    assert "the loss became" in fit.reason and "at step" in fit.reason
    assert fit.steps_done == len((tmp_path / "fit" / fit.curve).read_text().splitlines()) - 2
    assert "the loss became" in build.write(tmp_path / "fit").read_text()


def test_ctrl_c_keeps_curve_and_state(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "diffprog", "fit", "qcbm", "--backend", "numpy", "--optimiser", "adam"]
    command += ["--steps", "1000000"]
    folder = tmp_path / "fit"
    process = subprocess.Popen([*command, "--out", str(folder)], stderr=subprocess.PIPE, text=True)
    state = folder / "arrays" / "qcbm-bars_and_stripes-small-seed0" / "fit-numpy-reverse-adam.npz"
    deadline = time.monotonic() + 60
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "1 of 1 fits are kept" in told
    (fit,) = FitJournal(folder).read()
    assert fit.outcome == "stopped"
    assert fit.steps_done > 1
    with np.load(state) as arrays:
        assert arrays["theta"].shape == (279,)
    assert (folder / "index.html").exists()


def test_without_julia_its_fits_are_unavailable_and_say_so(tmp_path: Path) -> None:
    search = Search(None, ["no Julia here"], "diffprog setup-julia")
    request = replace(QUICK, backends=("julia",), optimisers=("adam",))
    (fit,) = run(request, tmp_path / "fit", search)
    assert (fit.outcome, fit.reason, fit.mend) == ("unavailable", "no Julia here", "diffprog setup-julia")
    assert fits.exit_code([fit]) == 0
    assert "no Julia here" in build.write(tmp_path / "fit").read_text()


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (fits.Request("qbcm"), "there is no task 'qbcm'"),
        (fits.Request("flow", variants=("quadratic",)), "there is no variant to fit 'quadratic'"),
        (fits.Request("flow", size="huge"), "there is no size of task flow 'huge'"),
        (fits.Request("flow", method="magic"), "no method 'magic'"),
        (fits.Request("flow", optimisers=("sgd",)), "there is no optimiser 'sgd'"),
        (fits.Request("flow", rate=-1.0), "step size must be positive"),
        (replace(GAME, optimisers=("adam", "lbfgs")), "adversarial of qcbm is fitted by adam alone: L-BFGS takes"),
    ],
)
def test_bad_requests_are_refused_in_a_sentence(request_: fits.Request, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        fits.planned(request_)


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fits.jsonl").write_text("")
    with pytest.raises(UsageError, match="already holds a run"):
        fits.FitRun(tmp_path, driver.Settings()).start()


@pytest.mark.parametrize("name", FITTABLE)
def test_what_the_tasks_declare(name: str) -> None:
    task = tasks.get(name)
    fit = task.fit
    assert isinstance(fit, Fit)
    assert set(fit.minimax) <= set(fit.variants)
    for variant in fit.variants:
        game = fit.minimax.get(variant)
        if game is not None:
            names = {block.name for block in task.layout(task.configure(variant, "tiny")).blocks}
            assert set() < set(game.ascend) < names
            assert task.bound(task.configure(variant, "tiny")) is None
            assert game.pace > 0
        config = task.configure(variant, "tiny")
        inputs, again = fit.draw(config, 0), fit.draw(config, 0)
        assert inputs.keys() == again.keys()
        assert all(np.array_equal(inputs[key], again[key]) for key in inputs)
        assert inputs["params"].shape == (task.layout(config).size,)
        for key, array in inputs.items():
            if key.startswith("batches_"):
                assert array.shape[1:] == inputs[key.removeprefix("batches_")].shape
