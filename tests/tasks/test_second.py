"""Jvp and hvp of all tasks against closed forms, exact lattices, differences and identities."""

from __future__ import annotations

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
from tests.tasks.calling import relative
from tests.tasks.test_trg import RANDOM_TORUS, TORUS, all_spins, at

BACKENDS = ("numpy",)
CASES = [(name, variant) for name in tasks.NAMES for variant in tasks.get(name).variants]
TIGHT = {"trg": 1e-12}
"""Of symmetry, relative, where it is not 1e-13: cuts through near multiplets amplify rounding."""

backends = pytest.mark.parametrize("backend", BACKENDS)
cases = pytest.mark.parametrize(("task", "variant"), CASES)


def prepared(
    backend: str,
    task: str,
    config: Any,
    inputs: Arrays,
    operator: str,
    direction: Array,
    *,
    method: str = "",
    precision: str = "float64",
) -> Prepared:
    """A cell of the reference's method, differentiated by the backend's default engine."""
    if backend != "numpy":
        pytest.importorskip(backend)
    opened = get_backend(backend)
    opened.open(precision, "cpu", 1)
    method = method or tasks.get(task).methods[0]
    return opened.prepare(task, config, method, dict(inputs), Ask(operator, "", direction))


def derived(
    backend: str, task: str, config: Any, inputs: Arrays, operator: str, direction: Array, **how: str
) -> tuple[float, Array]:
    cell = prepared(backend, task, config, inputs, operator, direction, **how)
    return cell.fetch(cell.derivative())


def tiny(task: str, variant: str) -> tuple[Any, Arrays, str]:
    """Configuration, inputs and the reference's method."""
    found = tasks.get(task)
    config = found.configure(variant, "tiny")
    return config, found.draw(config, 3), found.reference_method(variant)


def directions(size: int, count: int = 2) -> Array:
    """Random unit vectors (count, P)."""
    v = np.random.default_rng(11).standard_normal((count, size))
    return np.asarray(v / np.linalg.norm(v, axis=1, keepdims=True))


@backends
@cases
def test_identities(backend: str, task: str, variant: str) -> None:
    """J v = g·v, and the Hessian is symmetric: u·Hv = v·Hu. All operators return the same value."""
    config, inputs, method = tiny(task, variant)
    u, v = directions(inputs["params"].size)
    value, slope = derived(backend, task, config, inputs, "gradient", v, method=method)
    first, rate = derived(backend, task, config, inputs, "jvp", v, method=method)
    second, hv = derived(backend, task, config, inputs, "hvp", v, method=method)
    _, hu = derived(backend, task, config, inputs, "hvp", u, method=method)
    assert first == pytest.approx(value, rel=1e-13) and second == pytest.approx(value, rel=1e-13)
    assert rate.shape == () and hv.shape == slope.shape
    assert abs(rate - slope @ v) <= 1e-13 * np.linalg.norm(slope)
    assert abs(u @ hv - v @ hu) <= TIGHT.get(task, 1e-13) * np.linalg.norm(hv)


@backends
@cases
def test_the_hvp_is_the_gradients_derivative(backend: str, task: str, variant: str) -> None:
    """By differences of its own gradient, or of the closed form's, which shares nothing with it, where there is one."""
    config, inputs, method = tiny(task, variant)
    v = directions(inputs["params"].size)[0]
    cell = prepared(backend, task, config, inputs, "hvp", v, method=method)
    _, product = cell.fetch(cell.derivative())

    def slope(theta: Array) -> Array:
        exact = tasks.get(task).closed_form(config, inputs | {"params": theta})
        return exact[1] if exact is not None else cell.gradient_at(theta)

    scale = float(np.linalg.norm(product))
    difference = finite_differences.directional(slope, inputs["params"], v, step=0.03, halvings=5)
    assert float(np.linalg.norm(product - difference.value)) <= max(10 * difference.error, 2e-10 * scale)
    assert difference.error < 1e-9 * scale  # or nothing would be proved


@backends
@pytest.mark.parametrize(("coupling", "heat"), [(0.3, 0.440992653577), (CRITICAL, 0.783266825929)])
def test_the_specific_heat_of_the_4x4_torus(backend: str, coupling: float, heat: float) -> None:
    """C/N = K² ∂²(ln Z/N)/∂K², from the hvp alone."""
    _, second = derived(backend, "trg", TORUS, at(TORUS, coupling), "hvp", np.ones(1))
    assert coupling**2 * second[0] == pytest.approx(heat, rel=1e-11)


@backends
@pytest.mark.parametrize("coupling", [None, 0.3, CRITICAL])
def test_the_covariances_of_the_4x4_torus(backend: str, coupling: float | None) -> None:
    """∂²ln Z/∂K_a∂K_b is the covariance of two bonds, by all 2¹⁶ states.

    Uniform couplings are the hard ones: symmetry makes singular values equal to the last bit, and v breaks it. None are
    random ones.
    """
    inputs = at(RANDOM_TORUS, coupling) if coupling else tasks.get("trg").draw(RANDOM_TORUS, 0)
    v = directions(32)[0]
    _, product = derived(backend, "trg", RANDOM_TORUS, inputs, "hvp", v)
    exponent = all_spins() @ inputs["params"]
    weights = np.exp(exponent - exponent.max())
    weights /= weights.sum()
    bonds = all_spins() - weights @ all_spins()
    assert relative(product, (weights * (bonds @ v)) @ bonds / 16) < 1e-11


@pytest.mark.parametrize("uniform", [False, True])
def test_both_resolvents_give_one_hvp(uniform: bool) -> None:
    """In the eigenbasis and by conjugate gradients; J = h = 1 has degenerate levels, which the loss does not see."""
    config, inputs, _ = tiny("eigensolver", "ground_state")
    if uniform:
        inputs["params"] = np.ones_like(inputs["params"])
    v = directions(inputs["params"].size)[0]
    dense, dominant = (
        derived("numpy", "eigensolver", config, inputs, "hvp", v, method=method)[1] for method in ("dense", "dominant")
    )
    assert np.isfinite(dense).all()
    assert relative(dominant, dense) < 1e-12


@backends
@cases
def test_float32_stays_float32_and_is_near(backend: str, task: str, variant: str) -> None:
    config, inputs, method = tiny(task, variant)
    v = directions(inputs["params"].size)[0]
    _, slope = derived("numpy", task, config, inputs, "gradient", v, method=method)
    for operator in ("jvp", "hvp"):
        _, exact = derived("numpy", task, config, inputs, operator, v, method=method)
        _, found = derived(backend, task, config, inputs, operator, v, method=method, precision="float32")
        assert found.dtype == np.float32
        scale = np.linalg.norm(slope) if operator == "jvp" else np.linalg.norm(exact)
        assert np.linalg.norm(found - exact) <= 1e-4 * scale


@backends
@pytest.mark.parametrize("coupling", [0.35, 0.48])
def test_the_energy_of_all_sites_does_not_cancel(backend: str, coupling: float) -> None:
    """⟨E²⟩ − ⟨E⟩² of 2²⁰ sites, as a difference, would leave one digit in float32: see the README on scales."""
    config = TrgConfig("classic", "chi 8", 8, 20, 1)
    _, exact = derived("numpy", "trg", config, at(config, coupling), "hvp", np.ones(1))
    _, found = derived(backend, "trg", config, at(config, coupling), "hvp", np.ones(1), precision="float32")
    assert relative(found, exact) < 1e-4


def test_a_rule_for_gradients_alone_has_no_hvp() -> None:
    config, inputs, _ = tiny("qcbm", "gaussian")
    with pytest.raises(Unsupported, match="no hvp is written by hand for method adjoint"):
        prepared("numpy", "qcbm", config, inputs, "hvp", inputs["params"], method="adjoint")
