"""What a model may be: parameters and data of every kind, all operators, both precisions, one backend alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffprog import tasks
from diffprog.records import npz
from diffprog.records.cells import Journal, Record
from diffprog.run import files
from tests.models.conftest import BY_HAND, LINE, TORCH, Folder, Own

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, in forward mode

TASK = """\
import numpy as np


def draw(seed):
    rng = np.random.default_rng(seed)
    params = {
        "T": rng.normal(size=(2, 3, 4)),
        "scale": 0.7,
        "v": np.asfortranarray(rng.normal(size=(4, 2))),
        "one": np.array([1.5]),
    }
    data = {
        "z": rng.normal(size=(2, 3)) + 1j * rng.normal(size=(2, 3)),
        "mask": rng.random((3, 2)) > 0.5,
        "index": rng.integers(0, 4, 5),
        "power": 3,
        "on": True,
        "empty": np.zeros((0, 2)),
    }
    return params, data
"""
LOSS = """\


def loss(params, data):
    T, v = params["T"], params["v"]
    field = {einsum}("ijk,ij->k", T + 0j, data["z"])
    chosen = T[:, :, data["index"]] ** 2
    masked = {where}(data["mask"], (T @ v)[0], 0.0)
    energy = {abs}(field) ** 2
    total = energy.sum() + params["scale"] * chosen.sum() + params["one"][0] ** 3 * masked.sum()
    return total * {where}(data["on"], 1.0, 2.0) / data["power"] + data["empty"].sum()


def outputs(params, data):
    return {{"T": params["T"], "index": data["index"], "on": data["on"], "energy": params["scale"] ** 2}}
"""
EVERY = {
    "torch": "import torch\n" + LOSS.format(einsum="torch.einsum", where="torch.where", abs="torch.abs"),
    "jax": "import jax.numpy as jnp\n" + LOSS.format(einsum="jnp.einsum", where="jnp.where", abs="jnp.abs"),
    "numpy": "import numpy as np\n" + LOSS.format(einsum="np.einsum", where="np.where", abs="np.abs"),
}
EVERY["torch"] = EVERY["torch"].replace(
    '"ijk,ij->k", T + 0j, data["z"]', '"ijk,ij->k", T.to(data["z"].dtype), data["z"]'
)
NO_LARGER = 1e-13


def test_every_kind_by_every_operator_in_both_precisions(folder: Folder, own: Own) -> None:
    records = own(
        folder("kinds", task=TASK, **EVERY), operators=("gradient", "jvp", "hvp"), precisions=("float64", "float32")
    )
    wrong = [(r.backend, r.operator, r.precision, r.reason) for r in records if r.outcome not in ("ok", "unsupported")]
    assert wrong == []
    done = {(r.backend, r.operator, r.precision): r for r in records if r.outcome == "ok"}
    assert len(done) == 14  # NumPy by its value
    for (backend, operator, precision), record in done.items():
        found = record.agreement
        assert found is not None
        assert found.zero_blocks == ()
        assert set(found.outputs) == {"T", "index", "on", "energy"}
        led = backend == "torch" and precision == "float64"
        assert (found.reference == "itself") == led
        if precision == "float64" and operator != "value":
            assert found.finite_differences is not None and found.finite_differences < 1e-9
            assert found.gradient is not None and (found.gradient.relative_l2 or 0.0) < NO_LARGER
        if operator == "jvp":
            assert found.identity is not None and found.identity <= (found.identity_tolerance or 0.0)


def test_every_engine_gives_the_same(folder: Folder, own: Own) -> None:
    records = own(
        folder("kinds", task=TASK, torch=EVERY["torch"], jax=EVERY["jax"]), engines=("eager", "func", "reverse")
    )
    outcomes = {(r.backend, r.engine): r.outcome for r in records}
    assert outcomes == dict.fromkeys((("torch", "eager"), ("torch", "func"), ("jax", "reverse")), "ok")
    assert all(r.agreement is not None and r.agreement.noise is not None for r in records)


def test_inputs_reach_the_workers_as_they_were_drawn(folder: Folder, own: Own, tmp_path: Path) -> None:
    own(folder("kinds", task=TASK, torch=EVERY["torch"]))
    (record,) = Journal(tmp_path / "run").read()
    task = tasks.get("kinds")
    config = task.configure("model", "tiny")
    given = npz.read(tmp_path / "run" / "arrays" / record.cell.case.key / "inputs.npz")
    assert all(np.array_equal(given[name], array) for name, array in task.draw(config, 0).items())
    assert given["directions"].shape == (3, task.layout(config).size) == (3, 24 + 1 + 8 + 1)
    answer = npz.read(tmp_path / "run" / record.arrays)
    parts = task.layout(config).split(answer["gradient"])
    # d/d scale of the loss, by hand.
    T = task.layout(config).split(given["params"])["T"]
    assert np.isclose(parts["scale"], (T[:, :, given["index"]] ** 2).sum() / 3)


def test_a_single_backend_has_its_ladder_all_the_same(folder: Folder, own: Own) -> None:
    records = own(folder(torch=TORCH), operators=("gradient", "jvp", "hvp"), precisions=("float64", "float32"))
    assert [r.outcome for r in records] == ["ok"] * 6
    for record in records:
        found = record.agreement
        assert found is not None
        if record.precision == "float64":
            assert found.reference == "itself" and found.finite_differences is not None
        else:
            assert found.reference.endswith("float64-cpu") and found.gradient is not None
    assert {r.agreement.identity is not None for r in records if r.agreement and r.operator == "jvp"} == {True}


def test_an_engine_that_cannot_is_told_and_not_tried(folder: Folder, own: Own) -> None:
    home = folder("line", task=LINE, numpy=BY_HAND)
    found = {r.operator: r for r in own(home, operators=("gradient", "jvp"))}
    assert found["gradient"].outcome == "ok"
    assert found["jvp"].outcome == "unsupported"
    assert found["jvp"].reason == "NumPy differentiates nothing: only the gradient is written by hand"


def test_what_leads_is_remembered(folder: Folder, own: Own, tmp_path: Path) -> None:
    """A run that goes on judges by the same gradient as before, noise and outputs included."""
    home = folder("kinds", task=TASK, torch=EVERY["torch"], jax=EVERY["jax"])

    def led(records: list[Record]) -> dict[str, str]:
        return {r.backend: r.agreement.reference for r in records if r.agreement is not None}

    first = own(home, ["torch"])
    records = own(home)
    assert records[0] == first[0]
    assert led(records) == {"torch": "itself", "jax": first[0].cell.key}
    # Where what led is gone, the next one that is good leads.
    (tmp_path / "run" / first[0].arrays).unlink()
    again = own(home, ["jax"])
    assert led(again)["jax"] in ("itself", first[0].cell.key)


@pytest.mark.parametrize("seed", [1, 7])
def test_seeds_variants_and_sizes_are_cases_of_their_own(folder: Folder, own: Own, seed: int, tmp_path: Path) -> None:
    text = (
        LINE.replace("draw(seed)", "draw(seed, variant, size)")
        .replace("size=(20, 3)", 'size=({"tiny": 20, "small": 200}[size], 3)')
        .replace("size=20", "size=len(X)")
        .replace('"b": 0.5', '"b": {"near": 0.5, "far": 50.0}[variant]')
    )
    text = 'VARIANTS = ["near", "far"]\nSIZES = ["tiny", "small"]\n' + text
    home = folder("line", task=text, numpy=BY_HAND)
    records = own(home, sizes=("tiny", "small"), seeds=(seed,))
    assert [(r.variant, r.size, r.outcome) for r in records] == [
        (variant, size, "ok") for variant in ("near", "far") for size in ("tiny", "small")
    ]
    assert len({files.load(tmp_path / "run" / r.arrays)["rest"].shape for r in records}) == 2
    near, _, far, _ = (r.value for r in records)
    assert near is not None and far is not None and far > 100 * near
