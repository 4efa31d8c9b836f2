"""Models of unusual sorts: of any size, of any names, with files that set or import what they like."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from diffprog import tasks
from diffprog.backends.base import Trainer
from diffprog.errors import UsageError
from diffprog.models import declaring, on_julia
from diffprog.records import npz
from diffprog.run import environment, fits
from diffprog.worker.fitting import Fitting
from tests.models.conftest import BY_HAND, JAX, LINE, NUMPY, TASK, TORCH, Folder, Own

TORCH_BODY = """
import torch


def loss(params, data):
    return {scale} * ((params["W"] ** 2).sum() {sign} (params["b"] ** 2).sum())
"""
HAND = """
import numpy as np


def loss(params, data):
    return 1e-200 * (params["W"] ** 2).sum() + 1e-200 * (params["b"] ** 2).sum()


def gradient(params, data):
    return loss(params, data), {"W": 2e-200 * params["W"], "b": -2e-200 * params["b"]}
"""


@pytest.mark.parametrize("scale", ["1e-200", "1e200"])
def test_gradients_whose_squares_are_no_numbers_are_compared(folder: Folder, own: Own, scale: str) -> None:
    torch = TORCH_BODY.format(scale=scale, sign="+")
    right, wrong = own(
        folder(torch=torch, jax=torch.replace("import torch", "").replace("** 2).sum() +", "** 3).sum() +"))
    )
    assert right.outcome == "ok", right.reason
    assert right.agreement is not None and 0 < (right.agreement.finite_differences or 0) < 1e-9
    assert wrong.outcome == "disagrees" and "W (" in wrong.reason and "b not" in wrong.reason, wrong.reason


def test_a_tiny_gradient_alone_is_held_to_its_differences(folder: Folder, own: Own) -> None:
    (record,) = own(folder(numpy=HAND))
    assert record.outcome == "disagrees"
    assert "finite differences are off" in record.reason and "W not" in record.reason, record.reason


def test_a_loss_without_value_nearby_is_no_evidence(folder: Folder, own: Own) -> None:
    task = TASK.replace('"b": rng.normal(size=2)', '"b": np.zeros(2)')
    loss = 'torch.where(p["b"] < 0, torch.nan, p["b"]).sum() + p["W"].sum()'
    torch = f"import torch\n\n\ndef loss(p, d):\n    return {loss}\n"
    (record,) = own(folder(task=task, torch=torch))
    assert record.outcome == "disagrees"
    assert record.reason == "finite differences cannot be had here: near these parameters the loss is not finite"
    assert json.loads(msgspec.json.encode(record))["agreement"]["finite_differences"] == sys.float_info.max


def test_arrays_may_be_called_as_numpy_calls_its_arguments(folder: Folder, own: Own, tmp_path: Path) -> None:
    task = LINE.replace('"X": X,', '"file": X, "allow_pickle": 2.0,')
    numpy = BY_HAND.replace('data["X"]', 'data["file"]').replace('"rest":', '"file":')
    (record,) = own(folder(task=task, numpy=numpy))
    assert record.outcome == "ok", record.reason
    assert npz.read(tmp_path / "run" / record.arrays)["file"].shape == (20,)


def test_what_is_written_is_read_by_numpy(tmp_path: Path) -> None:
    given = {"file": np.arange(6.0).reshape(2, 3).T, "θ": np.array(1.5), "none": np.zeros((0, 2), bool)}
    npz.write(tmp_path / "a.npz", given)
    with np.load(tmp_path / "a.npz") as found:
        assert found.files == list(given)
        for name, array in given.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)


def test_a_loss_may_put_others_in_the_places_of_its_parameters(folder: Folder, own: Own) -> None:
    changed = [text.replace("    Z =", '    params["W"] = 2 * params["W"]\n    Z =') for text in (TORCH, JAX)]
    for record in own(folder(torch=changed[0], jax=changed[1])):
        assert record.outcome == "ok", record.reason


def test_parameters_have_the_order_of_seed_0(folder: Folder) -> None:
    task = TASK.replace(
        "return params", "params = dict(reversed(params.items())) if seed else params\n    return params"
    )
    made = declaring.task(folder(task=task, torch=TORCH))
    config = made.configure("model", "tiny")
    theta = made.draw(config, 1)["params"]
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(theta, np.concatenate([rng.normal(size=(3, 2)).ravel(), rng.normal(size=2)]))


@pytest.mark.parametrize(
    "text",
    [
        "from helper import gradient\n",
        "from helper import slope as gradient\n",
        "import helper\n\ngradient = helper.gradient\n",
        '"""A text.\ndef loss(...)\n"""\n\n\nif True:\n    pass\n\n\ndef gradient(params, data): ...\n',
        "\ufeffdef gradient(params, data): ...\n",
    ],
)
def test_a_gradient_by_hand_is_seen_wherever_it_comes_from(folder: Folder, text: str) -> None:
    assert declaring.has_gradient(folder(numpy=text))


@pytest.mark.parametrize(
    "text", ['"""\ndef gradient(\n"""\n', "def loss(params, data): ...\n", "def gradient_of(x): ...\n"]
)
def test_what_is_only_called_alike_is_no_gradient(folder: Folder, text: str) -> None:
    assert not declaring.has_gradient(folder(numpy=text))


def test_the_settings_of_a_run_are_not_the_models(folder: Folder, own: Own) -> None:
    """A file may set what it likes when it is imported: threads and precision stay those that the run was asked for."""
    jax, torch = pytest.importorskip("jax"), pytest.importorskip("torch")
    before = environment.cores()  # so many threads a run within this process has
    threads = f"import torch\n\ntorch.set_num_threads({before + 1})\n"
    update = "jax.config.update({}, {})\n"
    bits = update.format("'jax_enable_x64'", False) + update.format("'jax_default_matmul_precision'", "'bfloat16'")
    bits = f"import jax\n\n{bits}"
    seen = "\n\ndef outputs(params, data):\n    return {{'setting': {setting}}}\n"
    records = own(
        folder(
            torch=threads + TORCH + seen.format(setting="torch.get_num_threads()"),
            jax=bits + JAX + seen.format(setting=str(before)),
        )
    )
    for record in records:
        assert record.outcome == "ok", record.reason
    assert torch.get_num_threads() == before
    assert jax.config.jax_default_matmul_precision == "highest"


def test_of_many_parameters_those_that_are_right_are_counted(folder: Folder, own: Own) -> None:
    task = "def draw(seed):\n    return {f'p{k}': 1.0 + k / 7 for k in range(12)}, {}\n"
    body = "def loss(params, data):\n    return sum(SIGN * x**2 for name, x in params.items())\n"
    wrong = body.replace("SIGN", "(-1 if name == 'p7' else 1)")
    _, found = own(folder(task=task, torch=body.replace("SIGN * ", ""), jax=wrong))
    assert "p7 (2.00e+00) differ, the other 11 not" in found.reason
    assert len(found.reason) < 400


def test_names_are_spelt_as_julia_reads_them() -> None:
    assert on_julia.spelt("\u00b5") == "\u03bc"
    assert on_julia.spelt("\u025b") == "\u03b5"
    assert on_julia.spelt("e\u0301") == "\u00e9"
    assert on_julia.spelt("W_1") == "W_1"


def test_there_must_be_something_to_fit(folder: Folder) -> None:
    name = tasks.add(folder(numpy=NUMPY, torch=TORCH)).name
    with pytest.raises(UsageError, match=r"there is nothing to fit: on_numpy.py has no gradient\(params, data\)"):
        fits.planned(fits.Request(name, backends=("numpy",)))


def test_the_state_of_a_fit_keeps_its_own_names(tmp_path: Path) -> None:
    """An output may be called as the parameters are; these are what is learned."""
    trainer = Trainer(
        1,
        gradient_at=lambda x, batch: (float(x @ x), 2 * x),
        outputs_at=lambda x: {"theta": np.zeros(5), "file": x + 1},
        adam=lambda x, rate, pace=None: pytest.fail("SciPy's is asked"),
        made_with="hand",
    )
    fitting = Fitting(trainer, {"params": np.ones(2)}, tmp_path / "fit.npz", lambda step, loss, seconds: None)
    fitting.run("lbfgs", 5, 0.1)
    found = npz.read(tmp_path / "fit.npz")
    np.testing.assert_allclose(found["theta"], 0, atol=1e-8)
    np.testing.assert_allclose(found["file"], 1, atol=1e-8)
