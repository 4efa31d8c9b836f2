"""The optimisers' loop on functions whose minimum is known."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from diffprog.backends.base import Pace, Trainer
from diffprog.backends.numpy_backend import NumpyAdam
from diffprog.spec import Array
from diffprog.worker.fitting import Fitting, NotFinite, minibatches

CENTRES = np.array([[1.0, -2.0], [3.0, 0.0]])


def bowl(theta: Array, batch: int) -> tuple[float, Array]:
    away = theta - CENTRES[batch]
    return float(away @ away), 2 * away


def trainer(batches: int = 1) -> Trainer:
    return Trainer(batches, bowl, lambda theta: {"twice": 2 * theta}, partial(NumpyAdam, bowl), "none")


def fitted(tmp_path: Path, one: Trainer, **more: Array) -> tuple[Fitting, list[tuple[int, float]]]:
    told: list[tuple[int, float]] = []
    inputs = {"params": np.zeros(2)} | more
    running = Fitting(one, inputs, tmp_path / "state.npz", lambda step, loss, seconds: told.append((step, loss)))
    return running, told


def test_adams_first_steps_are_as_published(tmp_path: Path) -> None:
    adam = NumpyAdam(bowl, np.zeros(2), 0.1)
    assert adam.step(0) == 5.0
    # m̂ = g and v̂ = g² after one step, so each component moves by the rate.
    assert adam.theta() == pytest.approx([0.1, -0.1], rel=1e-8)
    g1, g2 = np.array([-2.0, 4.0]), 2 * (np.array([0.1, -0.1]) - CENTRES[0])
    mean = (0.9 * 0.1 * g1 + 0.1 * g2) / (1 - 0.9**2)
    square = (0.999 * 0.001 * g1**2 + 0.001 * g2**2) / (1 - 0.999**2)
    adam.step(0)
    assert adam.theta() == pytest.approx([0.1, -0.1] - 0.1 * mean / np.sqrt(square), rel=1e-7)


def saddle(theta: Array, batch: int) -> tuple[float, Array]:
    """x y + (x² − y²)/8, of which x is to be minimised and y maximised: both come to nothing."""
    x, y = theta
    return float(x * y + (x * x - y * y) / 8), np.array([y + x / 4, x - y / 4])


def test_a_pace_is_of_each_component_and_falls(tmp_path: Path) -> None:
    adam = NumpyAdam(saddle, np.array([1.0, 1.0]), 0.1, Pace(np.array([1.0, -3.0]), 2))
    adam.step(0)
    assert adam.theta() == pytest.approx([0.9, 1.3], rel=1e-7)  # the first step is of the rate's length
    before = adam.theta()
    plain = NumpyAdam(saddle, np.array([1.0, 1.0]), 0.1)
    plain._theta, plain._mean, plain._square, plain._steps = before.copy(), adam._mean.copy(), adam._square.copy(), 1
    adam.step(0), plain.step(0)
    np.testing.assert_allclose(adam.theta() - before, 0.5 * np.array([1, -3]) * (plain.theta() - before), rtol=1e-13)


def test_neighbours_of_one_pace() -> None:
    pace = Pace(np.array([1.0, 1.0, -2.0, 1.0]), 4)
    assert pace.runs() == [slice(0, 2), slice(2, 3), slice(3, 4)]
    assert [pace.left(step) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]


def test_a_saddle_is_found_where_the_paces_say_who_ascends(tmp_path: Path) -> None:
    one = Trainer(1, saddle, lambda theta: {}, partial(NumpyAdam, saddle), "none")
    found = []
    for paces in ([1.0, -1.0], [1.0, 1.0]):
        running, _ = fitted(tmp_path, one, params=np.array([1.0, 0.5]), fit_pace=np.array(paces))
        running.run("adam", 2000, 0.01)
        with np.load(tmp_path / "state.npz") as state:
            found.append(state["theta"])
    assert found[0] == pytest.approx([0, 0], abs=0.1)
    assert np.abs(found[1]).max() > 1  # where both descend


def test_lbfgs_finds_the_minimum_and_writes_the_outputs_there(tmp_path: Path) -> None:
    running, told = fitted(tmp_path, trainer())
    running.run("lbfgs", 50, 0.1)
    with np.load(tmp_path / "state.npz") as state:
        assert state["theta"] == pytest.approx(CENTRES[0])
        assert state["twice"] == pytest.approx(2 * CENTRES[0])
        assert state["losses"].tolist() == [loss for _, loss in told]
    assert told[0] == (0, 5.0)
    assert [step for step, _ in told] == list(range(len(told)))


def test_adam_takes_minibatches_in_turn_and_is_judged_on_the_cases_own_data(tmp_path: Path) -> None:
    running, told = fitted(tmp_path, trainer(batches=2))
    running.run("adam", 400, 0.05)
    assert told[0][1] == 9.0  # the second centre's: minibatches are numbered from 1
    with np.load(tmp_path / "state.npz") as state:
        assert state["theta"] == pytest.approx(CENTRES[1], abs=1e-2)
    assert told[-1][0] == 400
    assert told[-1][1] == pytest.approx(8.0, rel=1e-2)


def test_a_source_tilts_and_a_scan_is_of_the_loss_itself(tmp_path: Path) -> None:
    source = np.array([2.0, 0.0])

    def tilted(theta: Array, batch: int) -> tuple[float, Array]:
        value, gradient = bowl(theta, batch)
        return value - float(source @ theta), gradient - source

    one = Trainer(1, tilted, lambda theta: {}, partial(NumpyAdam, tilted), "none")
    scan = np.array([[0.0, 0.0], [1.0, 1.0]])
    running, _ = fitted(tmp_path, one, fit_source=source, fit_scan=scan)
    running.run("lbfgs", 50, 0.1)
    with np.load(tmp_path / "state.npz") as state:
        assert state["theta"] == pytest.approx(CENTRES[0] + [1, 0])
        assert state["scan_value"] == pytest.approx([5.0, 9.0])
        assert state["scan_gradient"] == pytest.approx(2 * (scan - CENTRES[0]))


def test_a_loss_that_is_not_finite_stops(tmp_path: Path) -> None:
    def broken(theta: Array, batch: int) -> tuple[float, Array]:
        return np.nan, np.zeros(2)

    running, _ = fitted(tmp_path, Trainer(1, broken, lambda theta: {}, partial(NumpyAdam, broken), "none"))
    with pytest.raises(NotFinite, match="became nan at step 0"):
        running.run("adam", 3, 0.1)


def test_minibatches_replace_the_arrays_of_their_name() -> None:
    inputs = {
        "params": np.zeros(2),
        "data": np.zeros(3),
        "sigma": np.ones(1),
        "batches_data": np.arange(6.0).reshape(2, 3),
    }
    own, first, second = minibatches(inputs)
    assert own.keys() == first.keys() == {"data", "sigma"}
    assert own["data"].tolist() == [0, 0, 0]
    assert first["data"].tolist() == [0, 1, 2]
    assert second["data"].tolist() == [3, 4, 5]
