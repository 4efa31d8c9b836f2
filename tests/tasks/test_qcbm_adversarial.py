"""The Born machine against a discriminator: the textbook's game, what is known of it exactly, its mixed derivatives."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from diffprog import tasks
from diffprog.declaration import NO_LINE_SEARCH
from diffprog.spec import Array, Arrays
from diffprog.tasks.qcbm import discriminator, patterns, problem, targets
from diffprog.tasks.qcbm.problem import QcbmConfig
from diffprog.tasks.qcbm.spec import TASK
from tests.tasks.calling import relative
from tests.tasks.test_qcbm import backends, inputs, methods, runner, textbook
from tests.tasks.test_second import derived

TINY, SMALL = (problem.configure("adversarial", size) for size in ("tiny", "small"))
ONE_QUBIT = QcbmConfig("adversarial", "one qubit", 1, 1, "", False, "ring", rows=1, columns=1, hidden=2)
EQUILIBRIUM = -2 * math.log(2)

configs = pytest.mark.parametrize(
    "config", [pytest.param(TINY, id="tiny"), pytest.param(SMALL, id="small", marks=pytest.mark.thorough)]
)


def entropy(p: Array) -> float:
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def divergence(p: Array, q: Array) -> float:
    """Jensen and Shannon's."""
    return entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2


def blocks(config: QcbmConfig, theta: Array) -> Arrays:
    return problem.layout(config).split(theta)


def pinned(config: QcbmConfig, theta: Array, logit: float) -> Array:
    """The same angles, and a discriminator that says the same of all x."""
    theta = theta.copy()
    views = blocks(config, theta)
    views["W2"][...], views["b2"][...] = 0, logit
    return theta


@backends
@configs
def test_the_loss_is_the_textbooks(backend: str, config: QcbmConfig) -> None:
    """A string at a time: its bits as ±1, each unit's sum, the two logarithms as they stand."""
    theta, data = inputs(config)
    p, weights, loss, run = textbook(config), blocks(config, theta), 0.0, runner(backend, config)
    outputs = run("outputs", theta, data)
    np.testing.assert_allclose(outputs["distribution"], p, atol=1e-14)
    for x in range(2**config.qubits):
        bits = [1.0 if x >> qubit & 1 else -1.0 for qubit in range(config.qubits)]
        units = [math.tanh(row @ bits + b) for row, b in zip(weights["W1"], weights["b1"], strict=True)]
        said = 1 / (1 + math.exp(-(weights["W2"] @ units + weights["b2"])))
        loss += data["target"][x] * math.log(said) + p[x] * math.log(1 - said)
        assert outputs["discriminator"][x] == pytest.approx(said, rel=1e-13)
    assert run("value", theta, data) == pytest.approx(loss, rel=1e-13)
    assert run("gradient", theta, data)[0] == pytest.approx(loss, rel=1e-13)


@backends
@methods
@configs
def test_one_that_cannot_tell(backend: str, method: str, config: QcbmConfig) -> None:
    """D = ½ on all x: L = −2 ln 2, no force on the circuit, and ∂L/∂W2 = Σ h (π − p)/2."""
    theta, data = inputs(config)
    theta = pinned(config, theta, 0.0)
    loss, gradient = runner(backend, config, method)("gradient", theta, data)
    assert loss == pytest.approx(EQUILIBRIUM, rel=1e-14)
    found, weights = blocks(config, gradient), blocks(config, theta)
    np.testing.assert_allclose(found["angles"], 0, atol=1e-15)
    units = np.tanh(data["spins"] @ weights["W1"].T + weights["b1"])
    np.testing.assert_allclose(found["W2"], (data["target"] - textbook(config)) @ units / 2, atol=1e-15)
    np.testing.assert_allclose(found["b2"], 0, atol=1e-15)  # both are normalised


@backends
@methods
def test_the_best_discriminator_measures_the_divergence(backend: str, method: str) -> None:
    """On one qubit it can say anything of the two x: the best is D = π/(π + p), and L = −2 ln 2 + 2 JSD(p, π)."""
    _, data = inputs(ONE_QUBIT)
    data["target"] = np.array([0.8, 0.2])
    p = np.array([math.cos(0.4) ** 2, math.sin(0.4) ** 2])
    low, high = np.log(data["target"] / p)  # the logits at x = −1 and 1
    theta = np.zeros(problem.layout(ONE_QUBIT).size)
    views = blocks(ONE_QUBIT, theta)
    views["angles"][0], views["W1"][0], views["W2"][0] = 0.8, 1.0, (high - low) / 2 / math.tanh(1)
    views["b2"][...] = (high + low) / 2
    loss, gradient = runner(backend, ONE_QUBIT, method)("gradient", theta, data)
    assert loss == pytest.approx(EQUILIBRIUM + 2 * divergence(p, data["target"]), rel=1e-13)
    np.testing.assert_allclose(gradient[problem.angles(ONE_QUBIT) :], 0, atol=1e-15)
    # dL/dp₁ = ln(1 − D) at the two x, p₁ = sin²(t/2).
    slope = (np.log(p[1] / (p[1] + 0.2)) - np.log(p[0] / (p[0] + 0.8))) * math.sin(0.8) / 2
    assert gradient[0] == pytest.approx(slope, rel=1e-13)
    for away in np.random.default_rng(0).normal(0, 0.3, (20, theta.size)):
        away[: problem.angles(ONE_QUBIT)] = 0
        assert runner(backend, ONE_QUBIT)("value", theta + away, data) < loss


@configs
def test_a_discriminator_free_on_each_x_measures_the_divergence(config: QcbmConfig) -> None:
    p, target = textbook(config), inputs(config)[1]["target"]
    with np.errstate(divide="ignore"):
        best = np.maximum(np.log(target) - np.log(p), -700)  # where there are no data, D → 0
    loss = discriminator.payoff(best, p, target)[0]
    assert loss == pytest.approx(EQUILIBRIUM + 2 * divergence(p, target), rel=1e-13)
    for away in np.random.default_rng(0).normal(0, 1, (20, p.size)):
        assert discriminator.payoff(best + away, p, target)[0] < loss


@backends
@methods
@pytest.mark.parametrize(("config", "jax_too"), [(TINY, True), (SMALL, False)], ids=["tiny", "small"])
def test_all_methods_give_the_references_gradient(
    backend: str, method: str, config: QcbmConfig, jax_too: bool, pytestconfig: pytest.Config
) -> None:
    if backend == "jax" and not (jax_too or pytestconfig.getoption("--thorough")):
        pytest.skip("compiles for long: tried with --thorough")
    theta, data = inputs(config)
    loss, expected = runner("numpy", config)("gradient", theta, data)
    found_loss, found = runner(backend, config, method)("gradient", theta, data)
    assert found_loss == pytest.approx(loss, rel=1e-14)
    for name, block in blocks(config, expected).items():
        assert relative(blocks(config, found)[name], block) < 1e-13, name


def test_the_reference_against_finite_differences() -> None:
    theta, data = inputs(SMALL, seed=3)
    functions = tasks.functions("qcbm", "numpy", SMALL, "reverse")
    gradient = blocks(SMALL, functions.gradient(theta, data)[1])
    h, rng = 1e-3, np.random.default_rng(1)
    for name, block in gradient.items():  # within each block alone
        direction = np.zeros_like(theta)
        view = blocks(SMALL, direction)[name]
        view[...] = rng.standard_normal(view.shape)
        loss = {step: functions.value(theta + step * h * direction, data) for step in (-2, -1, 1, 2)}
        slope = (8 * (loss[1] - loss[-1]) - (loss[2] - loss[-2])) / (12 * h)
        assert slope == pytest.approx(float((block * view).sum()), rel=1e-7, abs=1e-9), name


@pytest.mark.parametrize("backend", ["numpy", "torch", pytest.param("jax", marks=pytest.mark.thorough)])
def test_mixed_second_derivatives_are_products(backend: str) -> None:
    """∂²L/∂θ_k∂w = −Σ_x D ∂s/∂w ∂p/∂θ_k: ∂p from shifted circuits, D ∂s/∂w from the outputs' own differences."""
    theta, data = inputs(TINY)
    count, outputs = problem.angles(TINY), runner("numpy", TINY)
    plus, minus = (
        np.stack(
            [outputs("outputs", theta + s * np.pi / 2 * e, data)["distribution"] for e in np.eye(theta.size)[:count]]
        )
        for s in (1, -1)
    )
    h = 1e-4

    def fooled(x: Array) -> Array:
        return np.asarray(np.log1p(-outputs("outputs", x, data)["discriminator"]))

    slopes = np.stack([(fooled(theta + h * e) - fooled(theta - h * e)) / (2 * h) for e in np.eye(theta.size)[count:]])
    mixed = (plus - minus) / 2 @ slopes.T
    v = np.random.default_rng(0).standard_normal(theta.size)
    of_angles, of_weights = v.copy(), v.copy()
    of_angles[count:], of_weights[:count] = 0, 0
    given = {"params": theta, **data}
    _, product = derived(backend, "qcbm", TINY, given, "hvp", of_angles)
    np.testing.assert_allclose(product[count:], v[:count] @ mixed, atol=1e-7)
    _, product = derived(backend, "qcbm", TINY, given, "hvp", of_weights)
    np.testing.assert_allclose(product[:count], mixed @ v[count:], atol=1e-7)
    assert np.abs(mixed).max() > 1e-2


@backends
@pytest.mark.parametrize("logit", [-800.0, 800.0])
def test_one_that_is_sure_overflows_nothing(backend: str, logit: float) -> None:
    """ln D and ln(1 − D) are the logit itself there, and 0."""
    theta, data = inputs(TINY)
    theta = pinned(TINY, theta, logit)
    loss, gradient = runner(backend, TINY)("gradient", theta, data)
    assert loss == pytest.approx(-800, rel=1e-14)
    assert np.isfinite(gradient).all()
    assert gradient[-1] == pytest.approx(-math.copysign(1, logit), rel=1e-14)


@pytest.mark.parametrize(
    ("backend", "method"),
    [*((b, m) for b in ("numpy", "torch") for m in TASK.methods), ("jax", "reverse"), ("jax", "adjoint")],
)
def test_single_precision_stays_single(backend: str, method: str) -> None:
    theta, data = inputs(TINY)
    expected = runner("numpy", TINY)("gradient", theta, data)[1]
    run = runner(backend, TINY, method, "float32")
    loss, gradient = run("gradient", theta, data)
    assert loss.dtype == gradient.dtype == run("value", theta, data).dtype == np.float32
    assert {array.dtype for array in run("outputs", theta, data).values()} == {np.dtype(np.float32)}
    assert 1e-9 < relative(gradient, expected) < 1e-5


@backends
@configs
def test_work_is_what_was_declared(backend: str, config: QcbmConfig) -> None:
    theta, data = inputs(config)
    work = runner(backend, config)("work", theta, data)
    assert work == problem.work(config)
    assert work["parameters"] == theta.size == work["rotations"] + 2 * config.qubits * (config.qubits + 2) + 1
    assert work["activations"] == 2**config.qubits * 2 * config.qubits


@pytest.mark.parametrize("size", ["tiny", "small", "medium"])
def test_it_is_the_machine_of_bars_and_stripes(size: str) -> None:
    game, bars = (problem.configure(variant, size) for variant in ("adversarial", "bars_and_stripes"))
    assert replace(game, variant=bars.variant, kernel=bars.kernel, hidden=0) == bars
    theta, data = inputs(game, seed=5)
    angles, same = inputs(bars, seed=5)
    assert theta[: angles.size].tobytes() == angles.tobytes()
    for name in ("target", "cnots", "permutation"):
        assert np.array_equal(data[name], same[name])
    assert "sigmas" not in data
    assert data["spins"].shape == (2**game.qubits, game.qubits)
    valid = data["spins"][data["target"] > 0] > 0
    assert np.array_equal(np.unique(valid, axis=0), targets.bars_and_stripes(game.rows, game.columns) > 0)
    assert [block.name for block in problem.layout(game).blocks] == ["angles", "W1", "b1", "W2", "b2"]


def test_the_drawn_weights_make_sums_of_variance_one() -> None:
    """Bits are ±1: W1 x has variance 1, its bias 1/n more; W2·h at most 1."""
    drawn = [blocks(SMALL, inputs(SMALL, seed)[0]) for seed in range(200)]
    squares = {name: np.mean([np.square(one[name]) for one in drawn]) for name in ("W1", "b1", "W2")}
    assert squares == pytest.approx({"W1": 1 / 9, "b1": 1 / 9, "W2": 1 / 18}, rel=0.1)
    assert all(np.abs(one["b2"]) > 0 for one in drawn)


def test_adjoint_needs_less_memory_and_the_hidden_layer_counts() -> None:
    game, bars = (problem.configure(variant, "large") for variant in ("adversarial", "bars_and_stripes"))
    assert problem.memory(game, "adjoint", 8) < problem.memory(game, "reverse", 8)
    assert problem.memory(game, "adjoint", 8) > problem.memory(bars, "adjoint", 8) + 2**20 * 40 * 8


def test_bits_in_another_order_are_another_game() -> None:
    theta, data = inputs(TINY)
    right = runner("numpy", TINY)("gradient", theta, data)[1]
    for wrong in (data["spins"][:, ::-1], -data["spins"], data["spins"] * 0.5 + 0.5):
        assert relative(runner("numpy", TINY)("gradient", theta, data | {"spins": wrong})[1], right) > 1e-2


def test_total_variation() -> None:
    assert patterns.total_variation(np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.5, 0.25])) == 0.25


def test_what_is_declared_of_the_fit() -> None:
    assert TASK.fit is not None
    game = TASK.fit.minimax["adversarial"]
    assert TASK.fit.defaults("adversarial") is game and TASK.fit.defaults("gaussian") is TASK.fit
    assert set(game.ascend) == {block.name for block in problem.layout(TINY).blocks} - {"angles"}
    assert game.saddle == EQUILIBRIUM
    assert TASK.bound(TINY) is None
    assert "saddle" in NO_LINE_SEARCH
