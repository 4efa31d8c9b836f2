"""How a user's model is judged: by nobody's reference, and never by backends that only agree with each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from diffprog.records.cells import Record
from diffprog.report import build
from diffprog.report.run.notes import notes
from tests.models.conftest import JAX, NUMPY, TASK, TORCH, Folder, Own

TERM = "(Z[:, 1] ** 2).sum()"
FLIPPED_TORCH = (
    TORCH
    + """

class Flip(torch.autograd.Function):
    @staticmethod
    def forward(ctx, b):
        return b.clone()

    @staticmethod
    def backward(ctx, b_bar):
        return -b_bar


right = loss


def loss(params, data):
    return right(params | {"b": Flip.apply(params["b"])}, data)
"""
)
FLIPPED_JAX = (
    JAX
    + """

import jax

flip = jax.custom_vjp(lambda b: b)
flip.defvjp(lambda b: (b, None), lambda _, b_bar: (-b_bar,))
right = loss


def loss(params, data):
    return right(params | {"b": flip(params["b"])}, data)
"""
)


def by_backend(records: list[Record]) -> dict[str, Record]:
    return {record.backend: record for record in records}


def test_the_first_good_gradient_is_what_the_others_are_judged_by(folder: Folder, own: Own) -> None:
    found = by_backend(own(folder(numpy=NUMPY, torch=TORCH, jax=JAX)))
    assert {name: record.outcome for name, record in found.items()} == dict.fromkeys(("torch", "jax", "numpy"), "ok")
    torch, jax, numpy = (found[name].agreement for name in ("torch", "jax", "numpy"))
    assert torch is not None and jax is not None and numpy is not None
    assert torch.reference == "itself"
    assert jax.reference == numpy.reference == found["torch"].cell.key
    for one in (torch, jax):  # each is held to finite differences, and well so
        assert one.finite_differences is not None and one.finite_differences_tolerance is not None
        assert one.finite_differences <= one.finite_differences_tolerance < 1e-8
    assert jax.gradient is not None and jax.gradient.relative_l2 is not None and jax.gradient.relative_l2 < 1e-14
    assert found["numpy"].operator == "value"
    assert numpy.value is not None and numpy.value < 1e-15


@pytest.mark.parametrize(
    ("losses", "wrong", "leads"),
    [
        ({"torch": FLIPPED_TORCH, "jax": JAX}, "torch", "jax"),
        ({"torch": TORCH, "jax": FLIPPED_JAX}, "jax", "torch"),
    ],
)
def test_a_sign_error_is_found_and_its_parameter_named(
    folder: Folder, own: Own, losses: dict[str, str], wrong: str, leads: str
) -> None:
    found = by_backend(own(folder(**losses)))
    assert found[leads].outcome == "ok"
    leading = found[leads].agreement
    assert leading is not None and leading.reference == "itself"
    assert found[wrong].outcome == "disagrees"
    assert re.search(r"finite differences are off by .*: b \(\S+\) differ, W not", found[wrong].reason)
    if wrong == "jax":
        assert re.search(r"the gradient is off by .*worst at b\[\d\]: b \(\S+\) differ, W not", found[wrong].reason)


def test_another_loss_on_one_backend_is_named_by_value_and_parameter(folder: Folder, own: Own) -> None:
    other = JAX.replace("+ (Z[:, 1]", "+ (params['b'] ** 2).sum() + (Z[:, 1]")
    found = by_backend(own(folder(torch=TORCH, jax=other)))
    assert found["torch"].outcome == "ok"
    assert found["jax"].outcome == "disagrees"
    assert "the value is off by" in found["jax"].reason
    assert re.search(r"b \(\S+\) differ, W not", found["jax"].reason)
    assert "finite differences" not in found["jax"].reason  # it is the right gradient of another loss


def test_backends_that_agree_on_a_wrong_gradient_disagree(folder: Folder, own: Own) -> None:
    torch = TORCH.replace(TERM, "(Z[:, 1] ** 2).detach().sum()")
    jax = JAX.replace("return", "import jax; return").replace(TERM, "jax.lax.stop_gradient(Z[:, 1] ** 2).sum()")
    found = by_backend(own(folder(numpy=NUMPY, torch=torch, jax=jax)))
    for name in ("torch", "jax"):
        assert found[name].outcome == "disagrees"
        assert re.search(r"finite differences are off by .*: W \(\S+\), b \(\S+\) differ$", found[name].reason)
    assert found["numpy"].outcome == "error"
    assert found["numpy"].reason == "there is no reference to compare with: every candidate failed"


@pytest.mark.parametrize(
    ("losses", "wrong"),
    [
        ({"torch": TORCH.replace("return ", "return torch.rand(()) * "), "jax": JAX}, "torch"),
        ({"torch": TORCH.replace("return ", "import numpy; return numpy.random.rand() * "), "jax": JAX}, "torch"),
        ({"torch": TORCH, "jax": JAX.replace("return ", "import numpy; return numpy.random.rand() * ")}, "jax"),
        ({"torch": TORCH, "numpy": NUMPY.replace("return ", "return np.random.rand() * ")}, "numpy"),
        ({"torch": "N = []\n" + TORCH.replace("return", "N.append(1); return len(N) *"), "jax": JAX}, "torch"),
    ],
    ids=["torch", "numpy-in-torch", "traced-in-jax", "numpy", "a-count-of-calls"],
)  # fmt: skip
def test_a_loss_that_draws_its_own_random_numbers_is_not_deterministic(
    folder: Folder, own: Own, losses: dict[str, str], wrong: str
) -> None:
    found = by_backend(own(folder(**losses)))
    assert found[wrong].outcome == "disagrees"
    assert found[wrong].reason.startswith("not deterministic: two calls of loss with the same inputs differ by")
    assert "draw random numbers in task.py" in found[wrong].reason
    (other,) = found.keys() - {wrong}
    assert found[other].outcome == "ok", found[other].reason


def test_a_parameter_without_influence_is_named_and_no_error(folder: Folder, own: Own, tmp_path: Path) -> None:
    losses = {name: text.replace(' + params["b"]', "") for name, text in (("torch", TORCH), ("jax", JAX))}
    records = own(folder(**losses))
    for record in records:
        assert record.outcome == "ok", record.reason
        assert record.agreement is not None and record.agreement.zero_blocks == ("b",)
    zero, led = notes(tmp_path / "run", records)  # in the terminal and on the page
    assert zero == (
        "mine-model-tiny-seed0: the gradient of b is zero throughout (torch, jax): the loss does not depend on it, at "
        "these inputs at least."
    )
    assert led.startswith("mine has no reference by hand: torch is what the others are judged by, since its gradient")
    page = build.write(tmp_path / "run").read_text()
    assert zero in page and led in page


SHOWN = "\n\ndef outputs(params, data):\n    return {}\n"


@pytest.mark.parametrize(
    ("torch", "jax", "told"),
    [
        ("{'p': params['W']}", "{'p': params['W'].T}", r"the output p has shape \(2, 3\), not \(3, 2\) as on torch"),
        ("{'p': params['W']}", "{'q': params['W']}", "'q' is no output on torch, which has p"),
        ("{'p': params['W']}", "{'p': -params['W']}", "the output p is off by 2.00e"),
        ("{'p': params['W'], 'k': 3}", "{'p': params['W'], 'k': 4}", r"the output k is off by 3.33e-01"),
        ("{'p': params['W']}", "{'p': params['W'].astype('float32')}", "the output p is float32, not float64"),
        ("{'p': params['W'] > 0}", "{'p': params['W']}", "the output p is float64, not bool"),
    ],
)
def test_outputs_that_differ_are_named(folder: Folder, own: Own, torch: str, jax: str, told: str) -> None:
    home = folder(torch=TORCH + SHOWN.format(torch), jax=JAX + SHOWN.format(jax))
    found = by_backend(own(home))
    assert found["torch"].outcome == "ok", found["torch"].reason
    assert found["jax"].outcome == "disagrees"
    assert re.search(told, found["jax"].reason), found["jax"].reason


def test_outputs_of_any_real_kind_are_compared(folder: Folder, own: Own) -> None:
    shown = "{'score': 0.5, 'count': 3, 'best': data['y'], 'right': data['y'] > 0, 'W': params['W']}"
    home = folder(**{
        name: text + SHOWN.format(shown) for name, text in (("torch", TORCH), ("jax", JAX), ("numpy", NUMPY))
    })  # fmt: skip
    records = own(home, precisions=("float64", "float32"))
    assert len(records) == 6
    for record in records:
        assert record.outcome == "ok", record.reason
        assert record.agreement is not None
        assert set(record.agreement.outputs) == {"score", "count", "best", "right", "W"}
        assert max(record.agreement.outputs.values()) < 1e-6


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, in forward mode
def test_kinks_nearby_and_other_units_are_no_reason_to_doubt(folder: Folder, own: Own) -> None:
    """A network of rectifiers has kinks within any step of 0.1; a parameter of 1e-6 is another one altogether then."""
    task = TASK.replace('"b": rng', '"b": 1e-6 * rng')
    body = """

def loss(params, data):
    Z = relu(data["X"] @ params["W"]) @ params["b"] * 1e6
    return ((Z - data["y"]) ** 2).mean() + (1e6 * params["b"]).sin().sum()
"""
    torch = f"import torch\n\nrelu = torch.relu\n{body}"
    jax = "import jax\nimport jax.numpy as jnp\n\nrelu = jax.nn.relu\n" + body.replace(
        '(1e6 * params["b"]).sin()', 'jnp.sin(1e6 * params["b"])'
    )
    for record in own(folder(task=task, torch=torch, jax=jax), operators=("gradient", "jvp")):
        assert record.outcome == "ok", record.reason
        found = record.agreement
        assert found is not None and found.finite_differences_tolerance is not None
        assert found.finite_differences_tolerance < 1e-6


def test_a_loss_that_differences_cannot_follow_is_told_so(folder: Folder, own: Own) -> None:
    """Quantised to a thousandth on the way, with the gradient passed straight through: there is nothing to check by."""
    rounded = "Z + (torch.round(Z * 1e3) / 1e3 - Z).detach()"
    torch = TORCH.replace("    return", f"    Z = {rounded}\n    return")
    (record,) = own(folder(torch=torch))
    assert record.outcome == "disagrees"
    assert re.search("finite differences", record.reason)
