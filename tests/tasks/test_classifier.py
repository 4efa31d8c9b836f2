"""Circuits that classify, against dense matrices, one sample at a time, and what is known of them; every backend's."""

from __future__ import annotations

import functools
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diffprog import tasks
from diffprog.circuits import tables
from diffprog.errors import UsageError
from diffprog.spec import SIZES, Array, Arrays
from diffprog.tasks.classifier import demand, drawn, images, moons, problem, samples
from diffprog.tasks.classifier.problem import ClassifierConfig
from diffprog.tasks.classifier.spec import TASK
from tests.tasks import calling
from tests.tasks.calling import relative

BACKENDS = ("numpy", "torch", "jax")
DIGITS, REUPLOADING = (problem.configure(variant, "tiny") for variant in TASK.variants)
FOUR = ClassifierConfig("reuploading", "four qubits", 4, 1, 3)
"""Halves of two qubits each, which tiny has not."""

variants = pytest.mark.parametrize("variant", TASK.variants)
methods = pytest.mark.parametrize("method", TASK.methods)


def inputs(config: ClassifierConfig, seed: int = 0) -> tuple[Array, Arrays]:
    data = problem.draw(config, seed)
    return data.pop("params"), data


called = functools.partial(calling.called, "classifier")


# The textbook: each sample alone, each gate a 2ⁿ x 2ⁿ matrix.

PAULI = {"X": np.array([[0, 1], [1, 0]]), "Z": np.diag([1, -1])}


def on_qubit(n: int, qubit: int, gate: Array) -> Array:
    """Qubit 0 is the last factor."""
    factors: list[Array] = [np.eye(2)] * n
    factors[n - 1 - qubit] = gate
    return np.asarray(functools.reduce(np.kron, factors))


def turned(n: int, qubit: int, letter: str, angle: float) -> Array:
    return on_qubit(n, qubit, np.cos(angle / 2) * np.eye(2) - 1j * np.sin(angle / 2) * PAULI[letter])


def textbook(config: ClassifierConfig, theta: Array, data: Arrays, sample: int) -> float:
    """The p of one sample."""
    n, angles, given = config.qubits, iter(theta), data[config.source][sample]
    state = given.astype(complex) if config.uploads_images else np.eye(2**n, dtype=complex)[0]
    for layer in range(config.depth + 1):
        for qubit in range(n):
            if not config.uploads_images:
                state = turned(n, qubit, "Z", given[1]) @ turned(n, qubit, "X", given[0]) @ state
            letters = "ZXZ"
            if config.uploads_images:
                letters = letters[1 if layer == 0 else 0 : 2 if layer == config.depth else 3]
            for letter in letters:
                state = turned(n, qubit, letter, next(angles)) @ state
        if layer < config.depth:
            for control, target in tables.ring(n).tolist():
                idle = (np.eye(2**n) + on_qubit(n, control, PAULI["Z"])) / 2
                state = (idle + (np.eye(2**n) - idle) @ on_qubit(n, target, PAULI["X"])) @ state
    assert next(angles, None) is None
    return float((1 + (state.conj() @ on_qubit(n, n - 1, PAULI["Z"]) @ state).real) / 2)


@pytest.mark.parametrize(
    ("backend", "config"),
    [
        (backend, config)
        for backend in BACKENDS
        for config in (DIGITS, REUPLOADING, FOUR)[:: 2 if backend == "jax" else 1]
    ],
    ids=lambda x: getattr(x, "size", x) if isinstance(x, str) else f"{x.variant}-{x.qubits}",
)
def test_every_sample_is_the_textbooks(backend: str, config: ClassifierConfig) -> None:
    theta, data = inputs(config)
    p = np.array([textbook(config, theta, data, sample) for sample in range(config.samples)])
    y, run = data["labels"], called(backend, config, "reverse")
    assert {0.0, 1.0} == set(y)
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    loss = run("gradient", theta, data)[0]
    assert loss == pytest.approx(expected, rel=1e-13) and loss.shape == ()
    np.testing.assert_allclose(run("outputs", theta, data)["probabilities"], p, rtol=0, atol=1e-14)
    if backend != "jax":
        assert run("value", theta, data) == pytest.approx(expected, rel=1e-13)
        unseen = run("outputs", theta, data)["held_out"]
        swapped = data | {config.source: data[f"held_{config.source}"], "labels": data["held_labels"]}
        np.testing.assert_array_equal(run("outputs", theta, swapped)["probabilities"], unseen)
    assert run("work", theta, data) == problem.work(config)


FEW = [("jax", "digits", "adjoint"), ("jax", "reuploading", "parameter_shift")]
"""What compiles for seconds: `diffprog baseline check` has the others."""
EACH = [(backend, variant, method) for backend in BACKENDS[:2] for variant in TASK.variants for method in TASK.methods]


@pytest.mark.parametrize(("backend", "variant", "method"), EACH + FEW)
def test_gradient_is_the_references(backend: str, variant: str, method: str) -> None:
    """Adjoint, shift and reverse are one gradient."""
    config = problem.configure(variant, "tiny")
    theta, data = inputs(config)
    loss, gradient = called("numpy", config, "reverse")("gradient", theta, data)
    found_loss, found = called(backend, config, method)("gradient", theta, data)
    assert found.shape == theta.shape and found.dtype == np.float64 and found_loss.shape == ()
    assert found_loss == pytest.approx(loss, rel=1e-14)
    assert relative(found, gradient) < 1e-14


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@variants
@methods
def test_so_it_is_at_small(backend: str, variant: str, method: str) -> None:
    """Two groups of qubits, a hundred samples; not 228 batches for shifts in PyTorch, which take seconds."""
    if (backend, method) == ("torch", "parameter_shift"):
        pytest.skip("checked by a run of this size")
    config = problem.configure(variant, "small")
    theta, data = inputs(config)
    gradient = called("numpy", config, "reverse")("gradient", theta, data)[1]
    assert relative(called(backend, config, method)("gradient", theta, data)[1], gradient) < 1e-13


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@variants
@methods
def test_single_precision_stays_single(backend: str, variant: str, method: str) -> None:
    config = problem.configure(variant, "tiny")
    theta, data = inputs(config)
    gradient = called("numpy", config, "reverse")("gradient", theta, data)[1]
    run = called(backend, config, method, "float32")
    loss, found = run("gradient", theta, data)
    assert loss.dtype == found.dtype == run("value", theta, data).dtype == np.float32
    assert {x.dtype for x in run("outputs", theta, data).values()} == {np.dtype(np.float32)}
    assert 1e-9 < relative(found, gradient) < 1e-5


@variants
def test_gradient_by_differences(variant: str) -> None:
    config = problem.configure(variant, "small")
    theta, data = inputs(config, 1)
    run, h = called("numpy", config, "adjoint"), 1e-3
    gradient = run("gradient", theta, data)[1]
    for v in np.linalg.qr(np.random.default_rng(0).standard_normal((theta.size, 3)))[0].T:
        near, far = (run("value", theta + k * h * v, data) - run("value", theta - k * h * v, data) for k in (1, 2))
        assert (8 * near - far) / (12 * h) == pytest.approx(gradient @ v, abs=1e-10)


# What is known.


@pytest.mark.parametrize("size", ["tiny", "small", "medium"])
def test_without_rotations_p_is_a_sum_over_pixels(size: str) -> None:
    """At θ = 0 the CNOTs alone are left: they permute amplitudes, whatever these are."""
    config = problem.configure("digits", size)
    theta, data = inputs(config)
    control, target = data["cnots"].T.tolist()

    def moved(x: int) -> int:
        for _ in range(config.depth):
            for i, j in zip(control, target, strict=True):
                x ^= (x >> i & 1) << j
        return x

    upper = [x for x in range(2**config.qubits) if not moved(x) >> config.qubits - 1]
    p = (data["images"][:, upper] ** 2).sum(axis=1)
    likely = np.where(data["labels"] == 1, p, 1 - p)
    run = called("numpy", config, "reverse")
    np.testing.assert_allclose(run("outputs", 0 * theta, data)["probabilities"], p, rtol=0, atol=1e-15)
    assert run("value", 0 * theta, data) == pytest.approx(-np.log(likely).mean(), rel=1e-14)


def test_one_point_on_the_equator() -> None:
    """Where x₁ + b are the angles about x alone: with one layer undone p is cos² of half the angle of qubit n−1."""
    config = ClassifierConfig("reuploading", "alone", 2, 1, 1)
    data = inputs(config)[1] | {"points": np.array([[0.7, 0.0]]), "labels": np.ones(1)}
    theta = np.zeros((2, 2, 3))
    theta[0, :, 1] = -0.7  # so that the CNOTs see |00>
    theta[1, 1, 1] = 0.4
    p = np.cos((0.7 + 0.4) / 2) ** 2
    loss, gradient = called("numpy", config, "reverse")("gradient", theta.ravel(), data)
    assert loss == pytest.approx(-np.log(p), rel=1e-14)
    assert gradient.reshape(2, 2, 3)[1, 1, 1] == pytest.approx(np.tan(1.1 / 2), rel=1e-14)


@variants
def test_norm_is_kept_and_the_rest_is_not_one_minus_p(variant: str) -> None:
    config = problem.configure(variant, "small")
    theta, data = inputs(config)
    run = called("numpy", config, "reverse")
    swapped = run("value", theta, data | {"labels": 1 - data["labels"]})
    p = run("outputs", theta, data)["probabilities"]
    rest = np.where(data["labels"] == 1, 1 - p, p)
    assert swapped == pytest.approx(-np.log(rest).mean(), rel=1e-13)  # Σ|ψ|² = 1
    state = np.array([[1, 0, 0, 1e-10]], complex)  # 1 − p to full precision
    assert samples.chances(state)[0].tolist() == pytest.approx([1, 1e-20], rel=1e-15)
    assert samples.likelihood(state, np.zeros(1)) == pytest.approx(1e-20, rel=1e-15)


@variants
@methods
def test_a_batch_is_the_mean_of_its_samples_in_any_order(variant: str, method: str) -> None:
    config = problem.configure(variant, "tiny")
    theta, data = inputs(config)
    loss, gradient = called("numpy", config, method)("gradient", theta, data)
    one = called("numpy", replace(config, samples=1), method)
    alone = [
        one("gradient", theta, data | {name: data[name][k : k + 1] for name in (config.source, "labels")})
        for k in range(config.samples)
    ]
    assert loss == pytest.approx(np.mean([found[0] for found in alone]), rel=1e-14)
    assert relative(gradient, np.mean([found[1] for found in alone], axis=0)) < 1e-14
    order = np.random.default_rng(0).permutation(config.samples)
    shuffled = data | {name: data[name][order] for name in (config.source, "labels")}
    again = called("numpy", config, method)("gradient", theta, shuffled)
    assert again[0] == pytest.approx(loss, rel=1e-14)
    assert relative(again[1], gradient) < 1e-14


@variants
def test_samples_that_are_held_out_are_no_part_of_the_loss(variant: str) -> None:
    config = problem.configure(variant, "tiny")
    theta, data = inputs(config)
    spoilt = data | {name: np.full_like(x, np.nan) for name, x in data.items() if name.startswith("held_")}
    for backend in ("numpy", "torch"):
        run = called(backend, config, "reverse")
        for found, expected in zip(run("gradient", theta, spoilt), run("gradient", theta, data), strict=True):
            np.testing.assert_array_equal(found, expected)


@variants
@pytest.mark.parametrize("size", ["tiny", "small"])
def test_what_is_not_measured_has_no_derivative(variant: str, size: str) -> None:
    """In the last layer the other qubits' rotations, and a last Rz; so the floor counts shifts of the others alone."""
    config = problem.configure(variant, size)
    theta, data = inputs(config)
    gradient = called("numpy", config, "parameter_shift")("gradient", theta, data)[1]
    last = problem.layout(config).split(np.arange(theta.size))[f"layer{config.depth}"]
    unseen = [*last[:-1].ravel(), *([] if config.uploads_images else [last[-1, -1]])]
    assert np.abs(gradient[unseen]).max() < 1e-15
    assert demand.seen(config) == theta.size - len(unseen)


# One program for the whole batch.


@variants
@pytest.mark.parametrize("method", ["reverse", "adjoint"])
def test_torch_runs_as_many_operations_whatever_the_batch(variant: str, method: str) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counting(TorchDispatchMode):  # type: ignore[misc]  # mypy takes torch for Any
        seen = 0

        def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.seen += 1
            return operation(*args, **(kwargs or {}))

    counts = set()
    for batch in (2, 60):
        config = replace(problem.configure(variant, "small"), samples=batch)
        theta, data = inputs(config)
        gradient = tasks.functions("classifier", "torch", config, method).gradient
        given = torch.from_numpy(theta), {name: torch.from_numpy(x) for name, x in data.items()}
        gradient(*given)  # constants are made once
        with Counting() as counting:
            gradient(*given)
        counts.add(counting.seen)
    assert len(counts) == 1


@variants
def test_jax_traces_one_program_whatever_the_batch(variant: str) -> None:
    jax = pytest.importorskip("jax")

    def size(jaxpr: Any) -> int:
        inner = [
            x
            for one in jaxpr.eqns
            for x in jax.tree.leaves(list(one.params.values()), is_leaf=lambda x: hasattr(x, "jaxpr"))
        ]
        return len(jaxpr.eqns) + sum(size(x.jaxpr) for x in inner if hasattr(x, "jaxpr"))

    counts = set()
    for batch in (2, 60):
        config = replace(problem.configure(variant, "tiny"), samples=batch)
        theta, data = inputs(config)
        functions = tasks.functions("classifier", "jax", config, "adjoint")
        counts.add(size(jax.make_jaxpr(functions.gradient)(theta.astype("float32"), data | {
            name: x.astype("float32") for name, x in data.items() if x.dtype.kind == "f"}).jaxpr))  # fmt: skip
    assert len(counts) == 1


@pytest.mark.parametrize("variant", ["digits", "reuploading"])
def test_adjoint_keeps_a_few_batches(variant: str) -> None:
    """Reverse mode keeps one for each layer; the estimate that free memory is compared with covers either."""
    config = problem.configure(variant, "medium")
    theta, data = inputs(config)
    batch, peaks = 16 * config.samples << config.qubits, {}
    for method in ("adjoint", "reverse"):
        gradient = tasks.functions("classifier", "numpy", config, method).gradient
        tracemalloc.start()
        gradient(theta, data)
        peaks[method] = tracemalloc.get_traced_memory()[1] / batch
        tracemalloc.stop()
        assert peaks[method] * batch < problem.memory(config, method, 8)
    assert peaks["adjoint"] < 10
    assert peaks["reverse"] > config.depth + 1


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_chunks_of_shifted_circuits_do_not_matter(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DIGITS
    theta, data = inputs(config)
    whole = called(backend, config, "parameter_shift")("gradient", theta, data)[1]
    room = 5 * 2 * tables.circuit_bytes(config.qubits, config.depth, 8, config.samples)
    monkeypatch.setattr(tables, "CHUNK_BYTES", room)
    assert theta.size % 5
    chunked = calling.called.__wrapped__(TASK.name, backend, config, "parameter_shift")("gradient", theta, data)[1]
    np.testing.assert_allclose(chunked, whole, rtol=0, atol=1e-15)


# The samples.


def test_training_and_held_out_images_are_two_fixed_sets() -> None:
    known, labels, held, held_labels = images.zeros_and_ones()
    assert (known.shape, held.shape) == ((270, 8, 8), (90, 8, 8))
    assert labels.sum() + held_labels.sum() == 182
    assert not (known[:, None] == held[None]).all(axis=(2, 3)).any()
    for size in SIZES:
        config = problem.configure("digits", size)
        one, other = problem.draw(config, 0), problem.draw(config, 1)
        assert not np.array_equal(one["images"], other["images"])
        for name in ("held_images", "held_labels"):
            np.testing.assert_array_equal(one[name], other[name])
        np.testing.assert_allclose(np.linalg.norm(one["images"], axis=1), 1, rtol=1e-14)
        assert one["images"].shape == (config.samples, 2**config.qubits) and (one["images"] >= 0).all()
        if size != "large":
            assert len(np.unique(one["images"], axis=0)) >= config.samples - 1  # none is drawn twice; two look alike
        assert (one["images"] ** 2 @ np.ones(config.side**2)).shape == one["labels"].shape


def test_pooling_and_interpolation_are_what_is_written() -> None:
    image = np.arange(64.0).reshape(1, 8, 8)
    np.testing.assert_array_equal(images.resized(image, 4)[0, 0, :2], [0 + 1 + 8 + 9, 2 + 3 + 10 + 11])
    assert images.resized(image, 8) is image
    for side in (16, 32):
        weights = images.interpolation(side)
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-15)
        inner = slice(side // 16, -(side // 16))  # a line stays a line between the outer centres
        centres = (np.arange(side) + 0.5) / side
        np.testing.assert_allclose((weights @ ((np.arange(8) + 0.5) / 8))[inner], centres[inner], rtol=1e-14)
        np.testing.assert_array_equal(weights[0], np.eye(8)[0])
        found = images.resized(image, side)[0]
        np.testing.assert_allclose(found, weights @ image[0] @ weights.T)
        np.testing.assert_allclose(found[::-1, ::-1], 63 - found, atol=1e-12)  # as the image is odd about its centre


def test_images_are_moved_without_coming_in_again() -> None:
    image = np.random.default_rng(0).random((3, 8, 8))
    found = images.moved(image, np.array([[2, -1], [0, 0], [-2, 2]]))
    np.testing.assert_array_equal(found[0, 2:, :-1], image[0, :-2, 1:])
    assert not found[0, :2].any() and not found[0, :, -1].any()
    np.testing.assert_array_equal(found[1], image[1])
    np.testing.assert_array_equal(found[2, :-2, 2:], image[2, 2:, :-2])


def test_moons_are_two_half_circles() -> None:
    points, labels = moons.draw(10_000, np.random.default_rng(0))
    centres = np.stack([labels, labels / 2], axis=1)
    radii = np.linalg.norm(points - centres, axis=1)
    assert radii.mean() == pytest.approx(1 + moons.NOISE**2 / 2, abs=3e-3)
    assert radii.std() == pytest.approx(moons.NOISE, rel=0.05)
    outward = (points - centres)[:, 1] * (1 - 2 * labels)
    assert (outward > -4 * moons.NOISE).all()
    np.testing.assert_array_equal(moons.held_out()[0], problem.draw(REUPLOADING, 7)["held_points"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"depth": 0}, "at least one layer and one sample, not 0 and 8"),
        ({"samples": 0}, "at least one layer and one sample, not 2 and 0"),
        ({"qubits": 5}, "an even number of qubits, not 5"),
        ({"qubits": 12}, "4, 8, 16 or 32 pixels a side, not 64"),
    ],
)
def test_numbers_that_make_no_problem_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        replace(DIGITS, **changes)
    with pytest.raises(UsageError, match="no variant"):
        problem.configure("digits", "huge")


# What is learned.


@pytest.mark.parametrize(("variant", "least"), [("digits", 0.98), ("reuploading", 0.97)])
def test_what_is_held_out_is_told_apart(variant: str, least: float) -> None:
    """By a hundred steps of Adam at the rate that ``diffprog fit`` has, from its start."""
    assert TASK.fit is not None
    config = problem.configure(variant, "small")
    data = TASK.fit.draw(config, 0)
    theta, run = data.pop("params"), called("numpy", config, "adjoint")
    first = second = np.zeros_like(theta)
    for step in range(1, 101):
        gradient = run("gradient", theta, data)[1]
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        theta = theta - TASK.fit.rate * first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    found = run("outputs", theta, data)["held_out"]
    assert drawn.accuracy(found, data["held_labels"]) >= least
    counts = drawn.confusion(found, data["held_labels"])
    assert counts.sum() == len(found) and np.trace(counts) >= least * len(found)
    np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(data["held_labels"].astype(int)))


def test_the_least_certain_come_first() -> None:
    chances, labels = np.array([0.9, 0.2, 0.6, 0.4]), np.array([1.0, 0.0, 0.0, 1.0])
    assert drawn.least_certain(chances, labels, 2).tolist() == [2, 3]
    assert drawn.confusion(chances, labels).tolist() == [[1, 1], [1, 1]]
    assert drawn.accuracy(chances, labels) == 0.5
