"""PyTorch's engines: jvp and hvp against the gradient, its differences, exact lattices; degenerate points."""

from __future__ import annotations

import shutil
from functools import cache
from typing import Any

import numpy as np
import pytest

from diffprog import tasks
from diffprog.backends import get as get_backend
from diffprog.backends.base import Ask, Prepared
from diffprog.errors import Unsupported
from diffprog.measure import finite_differences
from diffprog.spec import Array, Arrays
from diffprog.tasks.trg.exact import CRITICAL
from diffprog.tasks.trg.problem import TrgConfig

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # by PyTorch, for forward mode

CASES = [(task, variant) for task in tasks.NAMES for variant in tasks.get(task).variants]
TORUS = TrgConfig("classic", "4x4 torus", 16, 4, 1)


def drawn(task: str, variant: str) -> tuple[Any, Arrays, Array]:
    """Configuration, inputs and a unit direction, size tiny."""
    config = tasks.get(task).configure(variant, "tiny")
    inputs = tasks.get(task).draw(config, 0)
    v = np.random.default_rng(1).standard_normal(inputs["params"].size)
    return config, inputs, v / np.linalg.norm(v)


def prepared(task: str, config: Any, method: str, inputs: Arrays, ask: Ask, precision: str = "float64") -> Prepared:
    backend = get_backend("torch")
    backend.open(precision, "cpu", 1)
    return backend.prepare(task, config, method, dict(inputs), ask)


def derivative(task: str, config: Any, method: str, inputs: Arrays, ask: Ask, precision: str = "float64") -> Any:
    cell = prepared(task, config, method, inputs, ask, precision)
    return cell.fetch(cell.derivative())[1]


@pytest.mark.parametrize(("task", "variant"), CASES)
def test_derivatives_fit_the_gradient(task: str, variant: str) -> None:
    config, inputs, v = drawn(task, variant)
    method = tasks.get(task).reference_method(variant)
    cell = prepared(task, config, method, inputs, Ask())
    gradient = cell.fetch(cell.derivative())[1]
    scale = float(np.linalg.norm(gradient))
    difference = finite_differences.directional(cell.gradient_at, inputs["params"], v)
    curvature = float(np.linalg.norm(difference.value))
    for engine in ("eager", "func"):

        def found(operator: str, precision: str = "float64", engine: str = engine) -> Any:
            return derivative(task, config, method, inputs, Ask(operator, engine, v), precision)

        assert np.linalg.norm(found("gradient") - gradient) <= 1e-13 * scale
        assert abs(found("jvp") - gradient @ v) <= 1e-13 * scale
        hvp = found("hvp")
        assert np.linalg.norm(hvp - difference.value) <= max(1e-9 * curvature, 10 * difference.error)
        assert (single := found("hvp", "float32")).dtype == np.float32
        assert np.linalg.norm(single - hvp) <= 1e-3 * curvature


@pytest.mark.parametrize("method", ["dense", "dominant"])
@pytest.mark.parametrize("engine", ["eager", "func"])
def test_degenerate_levels_that_the_loss_does_not_see(method: str, engine: str) -> None:
    config, inputs, v = drawn("eigensolver", "ground_state")
    inputs["params"] = np.ones_like(v)
    cell = prepared("eigensolver", config, method, inputs, Ask())
    difference = finite_differences.directional(cell.gradient_at, inputs["params"], v).value
    hvp = derivative("eigensolver", config, method, inputs, Ask("hvp", engine, v))
    np.testing.assert_allclose(hvp, difference, atol=1e-9 * float(np.linalg.norm(difference)))


def test_a_hessian_by_every_transform() -> None:
    """``torch.func.hessian`` maps forward over reverse mode over a batch of directions."""
    config, inputs, v = drawn("eigensolver", "long_chain")
    hvp = derivative("eigensolver", config, "dominant", inputs, Ask("hvp", "eager", v))
    data = {name: torch.from_numpy(array) for name, array in inputs.items()}
    loss = tasks.functions("eigensolver", "torch", config, "dominant").loss
    assert loss is not None
    hessian = torch.func.hessian(loss)(data.pop("params"), data).numpy()
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-13)
    np.testing.assert_allclose(hessian @ v, hvp, atol=1e-13)


@cache
def variance() -> tuple[Array, Array]:
    """Σ⟨ss′⟩ of every state of the 4×4 torus and nothing else: its values, and how many states have each."""
    spins = 1 - 2 * (np.arange(2**16)[:, None] >> np.arange(16) & 1).reshape(-1, 4, 4)
    bonds = sum((spins * np.roll(spins, -1, axis)).sum((1, 2)) for axis in (1, 2))
    values, counts = np.unique(bonds, return_counts=True)
    return values, counts


@pytest.mark.parametrize("engine", ["eager", "func"])
@pytest.mark.parametrize("coupling", [0.3, CRITICAL])
def test_the_specific_heat_of_the_4x4_torus(engine: str, coupling: float) -> None:
    inputs = tasks.get("trg").draw(TORUS, 0) | {"params": np.array([coupling])}
    second = derivative("trg", TORUS, "reverse", inputs, Ask("hvp", engine, np.ones(1)))[0]
    values, counts = variance()
    weights = counts * np.exp(coupling * values.astype(float))
    mean, square = (weights @ values.astype(float) ** power / weights.sum() for power in (1, 2))
    assert coupling**2 * second == pytest.approx(coupling**2 * (square - mean**2) / 16, rel=1e-9)


def test_equal_and_vanishing_singular_values() -> None:
    """M = diag(1, 1, 0, 0), cut after two, and |ABᵀ|²/2: its gradient is M, its Hessian drops what is dropped twice."""
    from diffprog.tasks.trg import split_torch

    def loss(matrices: Any) -> Any:
        a, b, _ = split_torch.split(matrices, 2)
        return (a @ b.mT).square().sum() / 2

    M = torch.diag(torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64))[None]
    v = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 4, 4)))
    gradient, hvp = torch.func.jvp(torch.func.grad(loss), (M,), (v,))
    np.testing.assert_allclose(gradient, M, atol=1e-15)
    expected = v.clone()
    expected[:, 2:, 2:] = 0
    np.testing.assert_allclose(hvp, expected, atol=1e-14)


def test_what_decomposes_is_recorded() -> None:
    found = {task: prepared(task, *_classic(task), Ask()).switches for task in ("trg", "eigensolver", "flow")}
    assert found == {"trg": {"svd": "LAPACK gesdd"}, "eigensolver": {"eigh": "LAPACK syevd"}, "flow": {}}


def _classic(task: str) -> tuple[Any, str, Arrays]:
    config, inputs, _ = drawn(task, tasks.get(task).variants[0])
    return config, tasks.get(task).methods[0], inputs


def test_a_method_that_is_a_rule_of_its_own_has_one_engine() -> None:
    config, inputs, v = drawn("qcbm", "gaussian")
    for engine, operator in (("func", "gradient"), ("eager", "hvp")):
        with pytest.raises(Unsupported, match="rule of its own"):
            prepared("qcbm", config, "adjoint", inputs, Ask(operator, engine, v))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # of the compiler's own
def test_compile() -> None:
    """The cheapest cell that Inductor as it is crashes on; all are checked by a run with ``--engine all``."""
    config, inputs, v = drawn("eigensolver", "ground_state")
    found = derivative("eigensolver", config, "dense", inputs, Ask("jvp", "compile", v))
    expected = derivative("eigensolver", config, "dense", inputs, Ask("jvp", "eager", v))
    assert found == pytest.approx(float(expected), rel=1e-12)
