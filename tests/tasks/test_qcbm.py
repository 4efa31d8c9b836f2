"""The Born machine against textbook gates, closed forms, finite differences; each backend against the reference."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from diffprog.circuits import tables
from diffprog.errors import UsageError
from diffprog.spec import Array, Arrays, Functions
from diffprog.tasks.qcbm import problem, reference, targets
from diffprog.tasks.qcbm.problem import QcbmConfig
from diffprog.tasks.qcbm.spec import TASK
from tests.tasks.calling import relative

CASES = [("gaussian", "tiny"), ("gaussian", "small"), ("bars_and_stripes", "tiny"), ("bars_and_stripes", "small")]
DISCREPANCIES = ("gaussian", "bars_and_stripes")
"""The variants whose loss is a maximum mean discrepancy; ``test_qcbm_adversarial`` has the other."""
ALL_CASES = [(variant, size) for variant in DISCREPANCIES for size in ("tiny", "small", "medium", "large")]
BACKENDS = ("numpy", "torch", "jax")
ONE_QUBIT = QcbmConfig("gaussian", "one qubit", 1, 1, "integer", True, "ring", peaks=1)
ODD = QcbmConfig("gaussian", "odd", 7, 2, "integer", False, "ring", peaks=2)
"""Two groups of unequal size, and a ring that does not close evenly."""

cases = pytest.mark.parametrize(("variant", "size"), CASES)
backends = pytest.mark.parametrize("backend", BACKENDS)
methods = pytest.mark.parametrize("method", TASK.methods)


@dataclass
class Runner:
    """One backend's functions, called with host arrays and answering with host arrays."""

    functions: Functions
    put: Callable[[Array], Any]
    compiled: Callable[[Callable[..., Any]], Callable[..., Any]]
    scope: Callable[[], contextlib.AbstractContextManager[Any]]

    def __call__(self, name: str, theta: Array, data: Arrays) -> Any:
        function = getattr(self.functions, name)
        with self.scope():
            if name != "work":
                function = self.compiled(function)
            answer = function(self.put(theta), {key: self.put(array) for key, array in data.items()})
        if isinstance(answer, tuple):
            return tuple(np.asarray(part) for part in answer)
        return {k: np.asarray(v) for k, v in answer.items()} if isinstance(answer, dict) else np.asarray(answer)


@functools.cache
def runner(backend: str, config: QcbmConfig, method: str = "reverse", precision: str = "float64") -> Runner:
    def cast(array: Array) -> Array:
        return array.astype(precision) if array.dtype.kind == "f" else array

    scope: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    compiled: Callable[[Callable[..., Any]], Callable[..., Any]] = functools.partial  # a call, nothing compiled
    if backend == "numpy":
        build, put = reference.build, cast
    elif backend == "torch":
        torch = pytest.importorskip("torch")
        from diffprog.tasks.qcbm import on_torch

        build = on_torch.build

        def put(array: Array) -> Any:
            return torch.as_tensor(cast(array))
    else:
        jax = pytest.importorskip("jax")
        from diffprog.tasks.qcbm import on_jax

        build = on_jax.build

        def put(array: Array) -> Any:
            wide = array.dtype.kind == "f" or precision == "float64"
            return jax.numpy.asarray(cast(array) if wide else array.astype(np.int32))

        compiled = functools.cache(jax.jit)
        scope = functools.partial(jax.enable_x64, precision == "float64")
    return Runner(build(config, method), put, compiled, scope)


def inputs(config: QcbmConfig, seed: int = 0) -> tuple[Array, Arrays]:
    data = problem.draw(config, seed)
    return data.pop("params"), data


# The textbook: 2ⁿ x 2ⁿ matrices, one gate at a time, nothing shared with the task but the order of the parameters.

X, Z = np.array([[0, 1], [1, 0]]), np.diag([1, -1])


def on_qubit(gate: Array, qubit: int, n: int) -> Array:
    return np.kron(np.eye(2 ** (n - 1 - qubit)), np.kron(gate, np.eye(2**qubit)))


@functools.cache
def textbook(config: QcbmConfig) -> Array:
    theta, data = inputs(config)
    n, angles = config.qubits, iter(theta[: problem.angles(config)])
    state = np.eye(2**n)[0].astype(complex)
    for layer in range(config.depth + 1):
        gates = [Z, X, Z][1 if layer == 0 else 0 : 2 if layer == config.depth else 3]
        for qubit in range(n):
            for pauli in gates:
                angle = next(angles)
                state = on_qubit(np.cos(angle / 2) * np.eye(2) - 1j * np.sin(angle / 2) * pauli, qubit, n) @ state
        if layer < config.depth:
            for control, target in data["cnots"]:
                idle, active = np.diag([1, 0]), np.diag([0, 1])
                state = (on_qubit(idle, control, n) + on_qubit(active, control, n) @ on_qubit(X, target, n)) @ state
    assert next(angles, None) is None
    return np.asarray(np.abs(state) ** 2)


def dense_kernel(config: QcbmConfig, sigmas: Array) -> Array:
    x = np.arange(2**config.qubits)
    if config.kernel == "hamming":
        distance = np.array([[bin(a ^ b).count("1") for b in x] for a in x])
    else:
        distance = (x[:, None] - x) ** 2
    return np.asarray(sum(np.exp(-distance / (2 * sigma)) for sigma in sigmas))


@backends
@pytest.mark.parametrize(
    "config", [problem.configure(*case) for case in CASES] + [ODD], ids=lambda c: c.variant + c.size
)
def test_distribution_and_loss_are_the_textbooks(backend: str, config: QcbmConfig) -> None:
    theta, data = inputs(config)
    expected = textbook(config)
    run = runner(backend, config)
    p = run("outputs", theta, data)["distribution"]
    assert p.shape == (2**config.qubits,)
    np.testing.assert_allclose(p, expected, rtol=0, atol=1e-14)
    assert abs(p.sum() - 1) < 1e-14
    q = expected - data["target"]
    loss = q @ dense_kernel(config, data["sigmas"]) @ q
    assert run("gradient", theta, data)[0] == pytest.approx(loss, rel=1e-13)


@backends
@pytest.mark.parametrize("variant", DISCREPANCIES)
def test_value_is_the_gradients_loss(backend: str, variant: str) -> None:
    config = problem.configure(variant, "tiny")
    theta, data = inputs(config)
    run = runner(backend, config)
    value = run("value", theta, data)
    assert value.shape == () and value.dtype == np.float64
    assert value == pytest.approx(run("gradient", theta, data)[0], rel=1e-14)


@backends
@methods
def test_one_qubit_closed_form(backend: str, method: str) -> None:
    """Rx(t) on |0>: p₁ = sin²(t/2); with K = [[2, e], [e, 2]], L = 2 (2 − e) (p₁ − π₁)²."""
    _, data = inputs(ONE_QUBIT)
    off = np.exp(-1 / (2 * data["sigmas"])).sum()
    for t in (0.3, 1.7, 4.0):
        run = runner(backend, ONE_QUBIT, method)
        p1 = np.sin(t / 2) ** 2
        theta = np.array([t, 0.0, 0.0, 0.0])
        p = runner(backend, ONE_QUBIT)("outputs", theta, data)["distribution"]
        np.testing.assert_allclose(p, [1 - p1, p1], atol=1e-15)
        loss, gradient = run("gradient", theta, data)
        error = p1 - data["target"][1]
        slope = 4 * (2 - off) * error * np.sin(t) / 2
        assert loss == pytest.approx(2 * (2 - off) * error**2, rel=1e-13)
        np.testing.assert_allclose(gradient, [slope, 0, 0, slope], atol=2e-15)


@backends
@cases
@methods
def test_gradient_is_the_references(backend: str, variant: str, size: str, method: str) -> None:
    config = problem.configure(variant, size)
    theta, data = inputs(config)
    loss, gradient = runner("numpy", config)("gradient", theta, data)
    got_loss, got = runner(backend, config, method)("gradient", theta, data)
    assert got.shape == theta.shape and got.dtype == np.float64 and got_loss.shape == ()
    assert got_loss == pytest.approx(loss, rel=1e-12)
    assert relative(got, gradient) < TASK.tolerance
    np.testing.assert_allclose(got, gradient, rtol=0, atol=1e-15)


@backends
@pytest.mark.parametrize(("variant", "method"), [("gaussian", "reverse"), ("bars_and_stripes", "adjoint")])
def test_medium_gradient_is_the_references(backend: str, variant: str, method: str) -> None:
    """Twelve qubits: three groups, and the FFT."""
    config = problem.configure(variant, "medium")
    theta, data = inputs(config)
    _, gradient = runner("numpy", config)("gradient", theta, data)
    assert relative(runner(backend, config, method)("gradient", theta, data)[1], gradient) < TASK.tolerance


@pytest.mark.parametrize(("variant", "size"), [*CASES, ("gaussian", "medium"), ("bars_and_stripes", "medium")])
def test_reference_against_finite_differences(variant: str, size: str) -> None:
    config = problem.configure(variant, size)
    theta, data = inputs(config, seed=3)
    functions = reference.build(config, "reverse")
    gradient = functions.gradient(theta, data)[1]
    h = 1e-2
    for direction in np.random.default_rng(1).standard_normal((3, theta.size)):
        direction /= np.linalg.norm(direction)
        loss = {step: functions.value(theta + step * h * direction, data) for step in (-2, -1, 1, 2)}
        slope = (8 * (loss[1] - loss[-1]) - (loss[2] - loss[-2])) / (12 * h)
        assert slope == pytest.approx(gradient @ direction, abs=1e-6 * float(np.linalg.norm(gradient)))


@backends
def test_probability_is_conserved(backend: str) -> None:
    """Σ_x ∂p/∂θ_k = 0, with ∂p = ½(p⁺ − p⁻) exactly."""
    config = problem.configure("gaussian", "tiny")
    theta, data = inputs(config)
    run = runner(backend, config)
    for shift in np.pi / 2 * np.eye(theta.size):
        plus, minus = (run("outputs", theta + sign * shift, data)["distribution"] for sign in (1, -1))
        assert abs((plus - minus).sum() / 2) < 2e-15


@backends
@methods
@pytest.mark.parametrize("variant", DISCREPANCIES)
def test_gradient_vanishes_where_the_target_is_met(backend: str, method: str, variant: str) -> None:
    config = problem.configure(variant, "tiny")
    theta, data = inputs(config)
    data["target"] = runner(backend, config)("outputs", theta, data)["distribution"]
    loss, gradient = runner(backend, config, method)("gradient", theta, data)
    assert abs(loss) < 1e-28
    np.testing.assert_allclose(gradient, 0, atol=1e-15)


@backends
@pytest.mark.parametrize(("variant", "size"), [("gaussian", "small"), ("bars_and_stripes", "tiny")])
def test_work_is_what_was_declared(backend: str, variant: str, size: str) -> None:
    config = problem.configure(variant, size)
    theta, data = inputs(config)
    assert runner(backend, config)("work", theta, data) == problem.work(config)


def test_work_is_not_counted_of_another_circuit() -> None:
    config = problem.configure("gaussian", "tiny")
    theta, data = inputs(config)
    data["permutation"] = np.roll(data["permutation"], 1)
    with pytest.raises(ValueError, match="not the composition"):
        reference.build(config, "reverse").work(theta, data)


@backends
@methods
@pytest.mark.parametrize(("variant", "size"), [("gaussian", "small"), ("bars_and_stripes", "tiny")])
def test_single_precision_stays_single(backend: str, method: str, variant: str, size: str) -> None:
    config = problem.configure(variant, size)
    theta, data = inputs(config)
    expected = runner("numpy", config)("gradient", theta, data)[1]
    loss, gradient = runner(backend, config, method, "float32")("gradient", theta, data)
    assert loss.dtype == gradient.dtype == np.float32
    assert 1e-9 < relative(gradient, expected) < 1e-4


@backends
def test_value_and_outputs_stay_single(backend: str) -> None:
    config = replace(problem.configure("gaussian", "tiny"), dense_kernel=False)
    theta, data = inputs(config)
    run = runner(backend, config, precision="float32")
    assert run("value", theta, data).dtype == np.float32
    assert run("outputs", theta, data)["distribution"].dtype == np.float32


@backends
def test_fft_is_the_dense_product(backend: str) -> None:
    config = problem.configure("gaussian", "small")
    theta, data = inputs(config)
    dense = runner(backend, config)("gradient", theta, data)
    fast = runner(backend, replace(config, dense_kernel=False))("gradient", theta, data)
    assert fast[0] == pytest.approx(dense[0], rel=1e-13)
    assert relative(fast[1], dense[1]) < 1e-13


@backends
def test_chunks_of_shifted_circuits_do_not_matter(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = problem.configure("bars_and_stripes", "tiny")
    theta, data = inputs(config)
    whole = runner(backend, config, "parameter_shift")("gradient", theta, data)[1]
    monkeypatch.setattr(tables, "CHUNK_BYTES", 7 * 2 * tables.circuit_bytes(config.qubits, config.depth, 8))
    assert theta.size % 7
    chunked = runner.__wrapped__(backend, config, "parameter_shift")("gradient", theta, data)[1]
    np.testing.assert_allclose(chunked, whole, rtol=0, atol=1e-15)


@pytest.mark.parametrize("plant", ["order of the CNOTs", "control for target", "a dropped CNOT", "bit order"])
def test_planted_errors_are_seen(plant: str) -> None:
    config = problem.configure("gaussian", "tiny")
    theta, data = inputs(config)
    gradient = reference.build(config, "reverse").gradient(theta, data)[1]
    wrong = {
        "order of the CNOTs": data["cnots"][::-1],
        "control for target": data["cnots"][:, ::-1],
        "a dropped CNOT": data["cnots"][:-1],
        "bit order": config.qubits - 1 - data["cnots"],
    }[plant]
    data["permutation"] = tables.permutation(wrong, config.qubits)
    assert relative(reference.build(config, "reverse").gradient(theta, data)[1], gradient) > 1e-2


@pytest.mark.parametrize(("variant", "size"), ALL_CASES)
def test_permutation_is_the_cnots_one_by_one(variant: str, size: str) -> None:
    config = problem.configure(variant, size)
    _, data = inputs(config)
    for start in np.random.default_rng(0).integers(0, 2**config.qubits, 20).tolist():
        word = start
        for control, target in data["cnots"].tolist():
            word ^= (word >> control & 1) << target
        assert data["permutation"][word] == start


@pytest.mark.parametrize(("variant", "size"), ALL_CASES)
def test_inputs(variant: str, size: str) -> None:
    config = problem.configure(variant, size)
    first, again, other = problem.draw(config, 5), problem.draw(config, 5), problem.draw(config, 6)
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert not np.array_equal(first["params"], other["params"])
    assert first["params"].shape == (problem.layout(config).size,) == ((3 * config.depth + 1) * config.qubits,)
    assert {name: str(array.dtype) for name, array in first.items()} == {
        "params": "float64",
        "target": "float64",
        "cnots": "int64",
        "permutation": "int64",
        "sigmas": "float64",
    }
    assert first["target"].sum() == pytest.approx(1, rel=1e-14)
    assert np.array_equal(np.sort(first["permutation"]), np.arange(2**config.qubits))


def test_layout_names_gates() -> None:
    config = problem.configure("bars_and_stripes", "small")
    layout = problem.layout(config)
    assert layout.size == 279
    assert layout.name_of(0) == "layer0[0,0]"
    assert layout.name_of(2 * 9 + 3) == "layer1[1,0]"
    assert layout.name_of(278) == "layer10[8,1]"


def test_targets_are_the_declared_ones() -> None:
    x = np.arange(16)
    tiny = np.exp(-((x - 7.5) ** 2) / (2 * 4**2))
    np.testing.assert_allclose(problem.target(problem.configure("gaussian", "tiny")), tiny / tiny.sum(), rtol=1e-14)
    x = np.arange(64)
    small = np.exp(-((x - 31.5) ** 2) / (2 * 16**2))
    np.testing.assert_allclose(problem.target(problem.configure("gaussian", "small")), small / small.sum(), rtol=1e-14)
    for size, patterns in (("tiny", 6), ("small", 14), ("medium", 22), ("large", 46)):
        target = problem.target(problem.configure("bars_and_stripes", size))
        assert np.count_nonzero(target) == patterns
    # 2x2: none, the two rows, the two columns, all; never a single pixel or a diagonal.
    assert np.flatnonzero(problem.target(problem.configure("bars_and_stripes", "tiny"))).tolist() == [
        0,
        3,
        5,
        10,
        12,
        15,
    ]


def test_entanglers() -> None:
    assert tables.ring(4).tolist() == [[0, 1], [2, 3], [1, 2], [3, 0]]
    assert targets.chow_liu_tree(targets.bars_and_stripes(2, 2)).tolist() == [[0, 1], [0, 2], [0, 3]]  # all pairs tie
    for rows, columns in ((2, 2), (3, 3), (3, 4), (4, 5)):
        assert len(targets.chow_liu_tree(targets.bars_and_stripes(rows, columns))) == rows * columns - 1


def test_published_tree_is_a_maximum_spanning_tree() -> None:
    patterns = targets.bars_and_stripes(3, 3)
    information = targets.mutual_information(patterns)
    best = sum(information[i, j] for i, j in targets.chow_liu_tree(patterns))
    assert sum(information[pair] for pair in targets.PUBLISHED_TREE) == pytest.approx(best, rel=1e-13)
    assert len(targets.PUBLISHED_TREE) == 8
    reached = {0}
    for _ in targets.PUBLISHED_TREE:
        reached |= {q for pair in targets.PUBLISHED_TREE if reached & set(pair) for q in pair}
    assert reached == set(range(9))


def test_adjoint_needs_less_memory() -> None:
    for variant in DISCREPANCIES:
        config = problem.configure(variant, "large")
        reverse, adjoint = (problem.memory(config, method, 8) for method in ("reverse", "adjoint"))
        assert adjoint < reverse / 3
        assert problem.memory(config, "reverse", 4) < reverse


def test_unknown_size() -> None:
    with pytest.raises(UsageError, match="no variant"):
        problem.configure("gaussian", "huge")
