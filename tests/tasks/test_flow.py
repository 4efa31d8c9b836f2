"""The flow: closed form, finite differences, both adjoints, all Python backends, invariances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffprog import tasks
from diffprog.backends import get as get_backend
from diffprog.backends.base import Ask, Prepared
from diffprog.measure import finite_differences
from diffprog.spec import Array, Arrays
from diffprog.tasks.flow import data, quadratic
from diffprog.tasks.flow.problem import VARIATIONAL, FlowConfig
from diffprog.tasks.flow.spec import TASK
from diffprog.tasks.flow.targets import LOG_DENSITY

PYTHON_BACKENDS = ("numpy", "torch", "jax")
DISCRETE = ("discrete", "checkpointed")


def prepared(backend: str, config: FlowConfig, method: str, inputs: Arrays, precision: str = "float64") -> Prepared:
    if backend != "numpy":
        pytest.importorskip(backend)
    opened = get_backend(backend)
    opened.open(precision, "cpu", 1)
    return opened.prepare("flow", config, method, inputs)


def gradient(backend: str, config: FlowConfig, method: str, inputs: Arrays) -> tuple[float, Array]:
    cell = prepared(backend, config, method, inputs)
    return cell.fetch(cell.derivative())


@pytest.mark.parametrize("backend", PYTHON_BACKENDS)
@pytest.mark.parametrize("method", DISCRETE)
@pytest.mark.parametrize("size", ["tiny", "small", "medium"])
def test_the_quadratic_flow_is_exact(backend: str, method: str, size: str) -> None:
    config = TASK.configure("quadratic", size)
    inputs = TASK.draw(config, 3)
    value, slope = gradient(backend, config, method, dict(inputs))
    exact = TASK.closed_form(config, inputs)
    assert exact is not None
    assert value == pytest.approx(exact[0], rel=1e-13)
    assert np.linalg.norm(slope - exact[1]) <= 1e-13 * np.linalg.norm(exact[1])


def test_the_closed_form_is_that_of_r_of_z_to_the_n() -> None:
    """Straight from the definition: x₀ = R(−εS)ᴺx by matrix powers, and its derivative by complex step."""
    rng = np.random.default_rng(0)
    d, n, time = 3, 7, 1.3
    a, x = rng.standard_normal((d, d)) / 3, rng.standard_normal((5, d))

    def nll(a: Any) -> Any:
        s = (a + a.T) / 2
        z = -(time / n) * s
        r = np.eye(d) + z + z @ z / 2 + z @ z @ z / 6 + z @ z @ z @ z / 24
        latent = x @ np.linalg.matrix_power(r, n)  # S is symmetric, so are R and its powers
        return time * np.trace(s) + (latent * latent).sum() / (2 * len(x)) + d / 2 * np.log(2 * np.pi)

    value, slope = quadratic.exact(a.ravel(), x, n, time)
    assert value == pytest.approx(nll(a), rel=1e-14)
    for k in range(d * d):
        step = np.zeros(d * d, dtype=complex)
        step[k] = 1e-30j
        assert slope[k] == pytest.approx(nll(a + step.reshape(d, d)).imag / 1e-30, rel=1e-12, abs=1e-13)


def test_the_closed_form_survives_equal_eigenvalues() -> None:
    x = np.random.default_rng(0).standard_normal((4, 2))
    _, slope = quadratic.exact(0.3 * np.eye(2).ravel(), x, 5, 1.0)
    _, near = quadratic.exact(np.diag([0.3, 0.3 + 1e-9]).ravel(), x, 5, 1.0)
    assert np.isfinite(slope).all()
    assert np.allclose(slope, near, rtol=1e-7)


@pytest.mark.parametrize("variant", TASK.variants)
@pytest.mark.parametrize(("size", "seed"), [("tiny", 0), ("tiny", 1), ("tiny", 2), ("small", 0)])
def test_the_reference_agrees_with_finite_differences(size: str, seed: int, variant: str) -> None:
    config = TASK.configure(variant, size)
    inputs = TASK.draw(config, seed)
    functions = tasks.functions("flow", "numpy", config, "discrete")
    batch = dict(inputs)
    theta = batch.pop("params")
    _, slope = functions.gradient(theta, batch)
    directions = np.linalg.qr(np.random.default_rng(seed).standard_normal((theta.size, 2)))[0].T
    error, bound = finite_differences.check(lambda x: float(functions.value(x, batch)), theta, slope, directions)
    assert error <= bound
    assert bound < 1e-7  # else the check would prove nothing


@pytest.mark.parametrize("backend", PYTHON_BACKENDS)
@pytest.mark.parametrize(("variant", "size"), [*((v, "tiny") for v in TASK.variants), ("density", "small")])
def test_backends_and_adjoints_agree_with_the_reference(backend: str, size: str, variant: str) -> None:
    config = TASK.configure(variant, size)
    inputs = TASK.draw(config, 1)
    value, reference = gradient("numpy", config, "discrete", dict(inputs))
    for method in DISCRETE:
        found, slope = gradient(backend, config, method, dict(inputs))
        assert found == pytest.approx(value, rel=1e-13)
        assert np.linalg.norm(slope - reference) <= 1e-13 * np.linalg.norm(reference)


@pytest.mark.parametrize("backend", PYTHON_BACKENDS)
def test_float32_stays_float32_and_is_near(backend: str) -> None:
    config = TASK.configure("density", "tiny")
    inputs = TASK.draw(config, 1)
    _, reference = gradient("numpy", config, "discrete", dict(inputs))
    for method in DISCRETE:
        cell = prepared(backend, config, method, dict(inputs), "float32")
        _, slope = cell.fetch(cell.derivative())
        assert slope.dtype == np.float32
        assert np.linalg.norm(slope - reference) <= 1e-5 * np.linalg.norm(reference)
        assert all(x.dtype == np.float32 for x in cell.outputs().values())


@pytest.mark.parametrize("backend", PYTHON_BACKENDS)
@pytest.mark.parametrize("variant", TASK.variants)
def test_the_work_is_counted_not_promised(backend: str, variant: str) -> None:
    config = TASK.configure(variant, "tiny")
    assert prepared(backend, config, "discrete", TASK.draw(config, 0)).work() == TASK.work(config)


@pytest.mark.parametrize("backend", PYTHON_BACKENDS)
def test_outputs_fit_the_value(backend: str) -> None:
    config = TASK.configure("density", "small")
    inputs = TASK.draw(config, 0)
    cell = prepared(backend, config, "discrete", dict(inputs))
    outputs, value = cell.outputs(), cell.fetch_value(cell.value())
    assert outputs["latent"].shape == inputs["data"].shape
    assert -outputs["log_density"].mean() == pytest.approx(value, rel=1e-13)
    bits = (value - inputs["log_jacobian"].mean()) / (64 * np.log(2))
    assert outputs["bits_per_dim"] == pytest.approx(bits, rel=1e-13)


@pytest.mark.parametrize("backend", PYTHON_BACKENDS)
@pytest.mark.parametrize("method", ["discrete", "library"])
def test_outputs_of_the_free_energy(backend: str, method: str) -> None:
    config = TASK.configure("ising", "tiny")
    inputs = TASK.draw(config, 0)
    if method == "library":
        pytest.importorskip({"numpy": "scipy", "torch": "torchdiffeq", "jax": "diffrax"}[backend])
    cell = prepared(backend, config, method, dict(inputs))
    outputs, value = cell.outputs(), cell.fetch_value(cell.value())
    assert outputs["samples"].shape == inputs["data"].shape
    assert outputs["free_energy"].mean() == pytest.approx(value, rel=1e-13)
    assert outputs["free_energy_per_site"] == pytest.approx(value / config.dim, rel=1e-13)
    log_target, _ = LOG_DENSITY["ising"](outputs["samples"], inputs)
    assert outputs["log_density"] - log_target == pytest.approx(outputs["free_energy"], rel=1e-12)


@pytest.mark.parametrize("variant", VARIATIONAL)
def test_the_free_energy_does_not_know_up_from_down(variant: str) -> None:
    """The potential and the targets are even, so z and −z are worth the same; this kills any odd term."""
    config = TASK.configure(variant, "tiny")
    inputs = TASK.draw(config, 0)
    value, slope = gradient("numpy", config, "discrete", dict(inputs))
    other, other_slope = gradient("numpy", config, "discrete", inputs | {"data": -inputs["data"]})
    assert other == pytest.approx(value, rel=1e-14)
    assert np.allclose(other_slope, slope, rtol=1e-12, atol=1e-13)


def test_the_loss_does_not_depend_on_the_order_of_hidden_units() -> None:
    config = TASK.configure("density", "tiny")
    inputs = TASK.draw(config, 0)
    parts = TASK.layout(config).split(inputs["params"])
    shuffled = np.concatenate([parts["W"][::-1].ravel(), parts["b"][::-1], parts["a"][::-1]])
    value, slope = gradient("numpy", config, "discrete", dict(inputs))
    other, other_slope = gradient("numpy", config, "discrete", inputs | {"params": shuffled})
    assert other == pytest.approx(value, rel=1e-14)
    assert np.allclose(TASK.layout(config).split(other_slope)["W"][::-1], TASK.layout(config).split(slope)["W"])


def test_dequantisation_and_its_jacobian() -> None:
    images = np.array([[0.0, 16.0, 7.0]])
    y, log_jacobian = data.dequantise(images, 17, np.random.default_rng(0))
    z = data.grey(y)
    assert np.all((z * 17 >= images) & (z * 17 < images + 1))
    step = 1e-7
    shifted = np.log(
        (data.ALPHA + (1 - 2 * data.ALPHA) * (z + step)) / (1 - data.ALPHA - (1 - 2 * data.ALPHA) * (z + step))
    )
    assert log_jacobian[0] == pytest.approx(np.log((shifted - y) / (step * 17)).sum(), rel=1e-4)


def test_mnist_is_read_from_the_file_that_is_named(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TASK.configure("density", "large")
    path = tmp_path / "mnist.npz"
    images = np.random.default_rng(0).integers(0, 256, (120, 28, 28)).astype(np.uint8)
    np.savez(path, x_train=images)
    monkeypatch.setenv(data.MNIST, str(path))
    assert data.describe(config.source) == f"MNIST from {path}"
    found = data.grey(TASK.draw(config, 0)["data"]) * 256
    assert np.isin(np.floor(found[0]), images.reshape(120, 784)).all()
    monkeypatch.setenv(data.MNIST, str(tmp_path / "absent.npz"))
    with pytest.raises(Exception, match=r"DIFFPROG_MNIST=.*absent"):
        TASK.draw(config, 0)
    monkeypatch.delenv(data.MNIST)
    assert "enlarged" in data.describe(config.source)
    assert TASK.draw(config, 0)["data"].shape == (100, 784)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # by torch.func.jvp
@pytest.mark.parametrize("backend", PYTHON_BACKENDS)
@pytest.mark.parametrize("operator", ["gradient", "jvp", "hvp"])
def test_a_sample_at_the_origin_has_no_share_in_the_gradient_of_ring(backend: str, operator: str) -> None:
    """|x| has a cusp there, but the field is odd: the sample stays where it is. The others count as before."""
    config = TASK.configure("ring", "tiny")
    inputs, count = TASK.draw(config, 0), config.batch
    direction = np.random.default_rng(0).standard_normal(inputs["params"].size)
    with_one = inputs | {"data": np.concatenate([inputs["data"], np.zeros((1, 2))])}
    assert TASK.undefined(config, with_one) == ""
    found = []
    for given in (inputs, with_one):
        if backend != "numpy":
            pytest.importorskip(backend)
        opened = get_backend(backend)
        opened.open("float64", "cpu", 1)
        cell = opened.prepare("flow", config, "discrete", dict(given), Ask(operator, "", direction))
        found.append(cell.fetch(cell.derivative())[1])
        assert np.isfinite(cell.outputs()["free_energy"]).all()
    # All that the origin adds to the mean is ∫∇²u dt, which is smooth in θ.
    data = dict(with_one) | {"data": np.zeros((1, 2))}
    theta = data.pop("params")
    at_origin = getattr(tasks.functions("flow", "numpy", config, "discrete"), operator)
    alone = at_origin(theta, data, *([direction] if operator != "gradient" else []))[1]
    expected = (count * found[0] + alone) / (count + 1)
    assert np.isfinite(alone).all()
    assert np.linalg.norm(found[1] - expected) <= 1e-13 * np.linalg.norm(expected)


@pytest.mark.parametrize("method", ["checkpointed", "backsolve", "library"])
@pytest.mark.parametrize("backend", PYTHON_BACKENDS)
def test_every_method_knows_the_gradient_with_a_sample_at_the_origin(backend: str, method: str) -> None:
    config = TASK.configure("ring", "tiny")
    inputs = TASK.draw(config, 0)
    inputs["data"][3] = 0
    _, right = gradient("numpy", config, "discrete", dict(inputs))
    _, found = gradient(backend, config, method, dict(inputs))
    assert np.linalg.norm(found - right) <= 1e-6 * np.linalg.norm(right)


def test_the_gradient_at_the_origin_is_that_of_differences() -> None:
    config = TASK.configure("ring", "tiny")
    inputs = TASK.draw(config, 0)
    inputs["data"][:2] = 0
    cell = prepared("numpy", config, "discrete", dict(inputs))
    _, slope = cell.fetch(cell.derivative())
    directions = np.random.default_rng(1).standard_normal((3, slope.size))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    error, allowed = finite_differences.check(cell.value_at, inputs["params"], slope, directions)
    assert error <= allowed < 1e-6
