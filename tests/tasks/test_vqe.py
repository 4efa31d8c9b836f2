"""Energies of circuits against matrices, free fermions, exact cuts and Bethe's equations; every backend's."""

from __future__ import annotations

import functools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from diffprog.circuits import tables
from diffprog.errors import UsageError
from diffprog.spec import SIZES, Array, Arrays
from diffprog.tasks.vqe import bethe, cuts, fermions, graphs, hamiltonian, problem, reference, start
from diffprog.tasks.vqe.problem import VqeConfig
from diffprog.tasks.vqe.spec import TASK
from tests.tasks import calling
from tests.tasks.calling import relative

BACKENDS = ("numpy", "torch", "jax")
ALL_CASES = [(variant, size) for variant in TASK.variants for size in SIZES]
ODD_GROUPS = VqeConfig("tfim", "two groups", 6, 2, "ring")
"""Two groups of qubits, which are not the halves of the ring's bonds."""

backends = pytest.mark.parametrize("backend", BACKENDS)
variants = pytest.mark.parametrize("variant", TASK.variants)
methods = pytest.mark.parametrize("method", TASK.methods)


def inputs(config: VqeConfig, seed: int = 0) -> tuple[Array, Arrays]:
    data = problem.draw(config, seed)
    return data.pop("params"), data


called = functools.partial(calling.called, "vqe")


# The textbook: 2ⁿ x 2ⁿ matrices, their exponentials by diagonalisation, nothing shared with the task but conventions.

PAULI = {"X": np.array([[0, 1], [1, 0]]), "Y": np.array([[0, -1j], [1j, 0]]), "Z": np.diag([1, -1])}


def word(n: int, **letters: tuple[int, ...]) -> Array:
    """A product of Pauli matrices, such as ``word(4, Z=(0, 1))``; qubit 0 is the last factor."""
    factors = [np.eye(2, dtype=complex)] * n
    for letter, qubits in letters.items():
        for qubit in qubits:
            factors[n - 1 - qubit] = PAULI[letter]
    return np.asarray(functools.reduce(np.kron, factors))


def exponential(generator: Array, angle: float) -> Array:
    energies, vectors = np.linalg.eigh(generator)
    return np.asarray((vectors * np.exp(-1j * angle * energies)) @ vectors.conj().T)


@functools.cache
def dense_hamiltonian(config: VqeConfig) -> Array:
    n = config.qubits
    pairs = [tuple(pair) for pair in problem.bonds(config).tolist()]
    if config.variant == "tfim":
        return np.asarray(sum(word(n, Z=pair) for pair in pairs) - sum(word(n, X=(q,)) for q in range(n)))
    if config.variant == "heisenberg":
        return np.asarray(sum(word(n, **{letter: pair}) for pair in pairs for letter in "XYZ"))
    return np.asarray(-sum((np.eye(2**n) - word(n, Z=pair)) / 2 for pair in pairs))


def textbook(config: VqeConfig, theta: Array) -> Array:
    """The state."""
    n = config.qubits
    if config.alternating:
        pairs = [tuple(pair) for pair in problem.bonds(config).tolist()]
        phases = np.asarray(sum(word(n, Z=pair) for pair in pairs))
        if config.variant == "maxcut":
            phases = (len(pairs) * np.eye(2**n) - phases) / 2
        mixer = np.asarray(sum(word(n, X=(q,)) for q in range(n)))
        state = np.full(2**n, 2 ** (-n / 2), complex)
        for gamma, beta in theta.reshape(2, -1).T:
            state = exponential(mixer, beta) @ exponential(phases, gamma) @ state
        return np.asarray(state)
    state, angles = np.eye(2**n, dtype=complex)[0], iter(theta)
    for layer in range(config.depth + 1):
        for qubit in range(n):
            for letter in "ZXZ"[1 if layer == 0 else 0 : 2 if layer == config.depth else 3]:
                state = exponential(word(n, **{letter: (qubit,)}) / 2, next(angles)) @ state
        if layer < config.depth:
            for control, target in tables.ring(n).tolist():
                idle = (np.eye(2**n) + word(n, Z=(control,))) / 2
                state = (idle + (np.eye(2**n) - idle) @ word(n, X=(target,))) @ state
    return np.asarray(state)


TEXTBOOK = [*(problem.configure(variant, "tiny") for variant in TASK.variants), ODD_GROUPS]


@pytest.mark.parametrize(
    ("backend", "config"),
    [(backend, config) for backend in BACKENDS for config in (TEXTBOOK[:-1] if backend == "jax" else TEXTBOOK)],
    ids=lambda x: getattr(x, "variant", x),
)
def test_energy_and_distribution_are_the_textbooks(backend: str, config: VqeConfig) -> None:
    theta, data = inputs(config)
    state = textbook(config, theta)
    run = called(backend, config, "reverse")
    loss = run("gradient", theta, data)[0]
    assert loss == pytest.approx((state.conj() @ dense_hamiltonian(config) @ state).real, rel=1e-13, abs=1e-13)
    distribution = run("outputs", theta, data)["distribution"]
    np.testing.assert_allclose(distribution, np.abs(state) ** 2, rtol=0, atol=1e-14)
    if backend != "jax":
        assert run("value", theta, data) == pytest.approx(loss, rel=1e-14)
        assert run("value", theta, data).shape == ()
    assert run("work", theta, data) == problem.work(config)


@pytest.mark.parametrize("config", [*TEXTBOOK, problem.configure("heisenberg", "small")], ids=lambda c: c.variant)
def test_no_matrix_is_needed_for_the_hamiltonian(config: VqeConfig) -> None:
    """On random states, a batch at once, and on each backend's own code."""
    _, data = inputs(config)
    x = np.random.default_rng(0).standard_normal((2, 2, 2**config.qubits)).view(complex).reshape(2, -1)
    x = x[:, : 2**config.qubits]
    expected = x @ dense_hamiltonian(config).T
    np.testing.assert_allclose(hamiltonian.apply(config, data, x), expected, rtol=0, atol=1e-12)
    torch = pytest.importorskip("torch")
    from diffprog.tasks.vqe import hamiltonian_torch

    tensors = {name: torch.from_numpy(array) for name, array in data.items()}
    found = hamiltonian_torch.apply(config, tensors, torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


@backends
@variants
@methods
def test_gradient_is_the_references(backend: str, variant: str, method: str) -> None:
    """Adjoint, shift and reverse are one gradient."""
    config = problem.configure(variant, "tiny")
    theta, data = inputs(config)
    loss, gradient = called("numpy", config, "reverse")("gradient", theta, data)
    found_loss, found = called(backend, config, method)("gradient", theta, data)
    assert found.shape == theta.shape and found.dtype == np.float64 and found_loss.shape == ()
    assert found_loss == pytest.approx(loss, rel=1e-13)
    assert relative(found, gradient) < TASK.tolerance / 10


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@variants
@methods
def test_so_it_is_at_small(backend: str, variant: str, method: str) -> None:
    config = problem.configure(variant, "small")
    theta, data = inputs(config)
    gradient = called("numpy", config, "reverse")("gradient", theta, data)[1]
    found = called(backend, config, method)("gradient", theta, data)[1]
    assert relative(found, gradient) < TASK.tolerance / 10


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
    assert run("outputs", theta, data)["distribution"].dtype == np.float32
    assert 1e-9 < relative(found, gradient) < 1e-5


# Exact physics.


@pytest.mark.parametrize("qubits", [4, 6, 10, 12, 16])
def test_free_fermions(qubits: int) -> None:
    config = VqeConfig("tfim", "a ring", qubits, max(1, qubits // 4), "ring")
    theta, data = inputs(config, seed=qubits)
    loss, gradient = called("numpy", config, "adjoint")("gradient", theta, data)
    exact, slopes = fermions.energy(qubits, theta)
    assert loss == pytest.approx(exact, rel=1e-12)
    assert relative(gradient, slopes) < 1e-12


@pytest.mark.parametrize(
    ("layers", "energy"), [(1, -9.656854249492), (2, -9.952135486850), (3, -10.054678984252), (4, -10.251661790966)]
)
def test_optima_of_eight_qubits(layers: int, energy: float) -> None:
    """As published: from an annealed start, on the circuit itself, and E₀ is reached with n/2 pairs of layers."""
    config = VqeConfig("tfim", "a ring", 8, layers, "ring")
    _, data = inputs(config)
    run = called("numpy", config, "adjoint")
    found = minimize(
        lambda theta: run("gradient", theta, data), start.annealed(config), jac=True, options={"gtol": 1e-9}
    )
    assert found.fun == pytest.approx(energy, abs=1e-11)
    if layers == 4:
        assert found.fun == pytest.approx(fermions.ground_energy(8), abs=1e-8)
        assert found.fun == pytest.approx(-2 / np.sin(np.pi / 16), abs=1e-8)


def test_a_shared_parameter_obeys_no_two_term_rule() -> None:
    """Shifting all gates of γ₀ together: L(γ + π/4) − L(γ − π/4) is not the derivative, their own shifts' sum is."""
    config = problem.configure("tfim", "tiny")
    theta, data = inputs(config)
    run = called("numpy", config, "parameter_shift")
    gradient = run("gradient", theta, data)[1]
    step = np.pi / 4 * np.eye(theta.size)[0]
    naive = run("value", theta + step, data) - run("value", theta - step, data)
    assert gradient[0] == pytest.approx(fermions.energy(config.qubits, theta)[1][0], rel=1e-12)
    assert abs(naive - gradient[0]) > 0.1 * abs(gradient[0])


@pytest.mark.parametrize("graph", ["K3,3", "Petersen", "Möbius-Kantor"])
def test_one_layer_on_a_cubic_graph(graph: str) -> None:
    pairs = graphs.GRAPHS[graph]
    config = VqeConfig("maxcut", "one layer", int(pairs.max()) + 1, 1, graph)
    theta, data = inputs(config)
    loss, gradient = called("numpy", config, "adjoint")("gradient", theta, data)
    exact = TASK.closed_form(config, data | {"params": theta})
    assert exact is not None
    assert loss == pytest.approx(exact[0], rel=1e-12)
    assert relative(gradient, exact[1]) < 1e-12
    gamma, beta = np.arctan(1 / np.sqrt(2)), np.pi / 8  # the best
    assert np.abs(cuts.one_layer(len(pairs), np.array([gamma, beta]))[1]).max() < 1e-14
    if graph == "Petersen":
        assert cuts.one_layer(15, np.array([gamma, beta]))[0] == pytest.approx(-10.386751345948, abs=1e-12)


def test_graphs_are_cubic_and_without_triangles() -> None:
    best = {"K3,3": 9, "Petersen": 12, "Möbius-Kantor": 24, "dodecahedron": 24}
    for config in (problem.configure("maxcut", size) for size in SIZES):
        pairs = graphs.GRAPHS[config.graph]
        joined = np.zeros((config.qubits, config.qubits), int)
        joined[pairs[:, 0], pairs[:, 1]] = joined[pairs[:, 1], pairs[:, 0]] = 1
        assert (joined.sum(axis=0) == 3).all() and joined.sum() == 2 * len(pairs)
        assert np.trace(np.linalg.matrix_power(joined, 3)) == 0
        assert -TASK.bound(config) == cuts.largest(config) == best[config.graph]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("qubits", "energy"),
    [(4, -8), (6, -11.211102550928), (8, -14.604373635749), (10, -18.061785417968), (12, -21.549563669781)],
)
def test_bethe_is_the_lowest_energy(qubits: int, energy: float) -> None:
    assert bethe.ground_energy(qubits) == pytest.approx(energy, abs=1e-11)
    if qubits <= 8:
        config = VqeConfig("heisenberg", "a ring", qubits, 1, "ring")
        assert bethe.ground_energy(qubits) == pytest.approx(np.linalg.eigvalsh(dense_hamiltonian(config))[0], abs=1e-11)


def test_dimers_have_the_energy_of_singlets() -> None:
    """Angles whose state is known; with no layer to spare, and with many."""
    for qubits, depth in ((4, 1), (6, 2), (8, 8)):
        config = VqeConfig("heisenberg", "a ring", qubits, depth, "ring")
        _, data = inputs(config)
        loss = called("numpy", config, "reverse")("value", start.dimers(config), data)
        assert loss == pytest.approx(-1.5 * qubits, rel=1e-13)
    assert start.draw_fit(config, 1)["params"] == pytest.approx(start.dimers(config), abs=0.5)


def fitted(config: VqeConfig) -> float:
    """Where L-BFGS ends, as ``diffprog fit`` runs it."""
    data = start.draw_fit(config, 0)
    theta = data.pop("params")
    run = called("numpy", config, "adjoint")
    options = {"maxiter": 1000, "maxfun": 10_000, "maxcor": 20, "ftol": 0.0, "gtol": 1e-10}
    found = minimize(lambda x: run("gradient", x, data), theta, jac=True, method="L-BFGS-B", options=options)
    return float(found.fun)


@pytest.mark.parametrize(("variant", "size"), [("tfim", "tiny"), ("tfim", "small"), ("heisenberg", "tiny")])
def test_fits_reach_the_ground_state(variant: str, size: str) -> None:
    config = problem.configure(variant, size)
    assert fitted(config) == pytest.approx(TASK.bound(config), abs=1e-8)


def test_eight_spins_are_within_a_percent() -> None:
    """From the start that was chosen for it; see the README. It is no lower than the lowest energy."""
    bound = bethe.ground_energy(8)
    assert bound < fitted(problem.configure("heisenberg", "small")) < 0.99 * bound


def test_large_needs_a_few_states() -> None:
    """Twenty qubits, the energy and gradient by un-applying gates; a matrix would need 16 TiB."""
    config = problem.configure("tfim", "large")
    theta, data = inputs(config)
    functions = reference.build(config, "adjoint")
    tracemalloc.start()
    loss, gradient = functions.gradient(theta, data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    state = 16 << config.qubits
    assert 3 * state < peak < 8 * state
    assert peak < problem.memory(config, "adjoint", 8) < problem.memory(config, "reverse", 8) / 2
    exact, slopes = fermions.energy(config.qubits, theta)
    assert loss == pytest.approx(exact, rel=1e-12)
    assert relative(gradient, slopes) < 1e-12


# What is declared.


@pytest.mark.parametrize(("variant", "size"), ALL_CASES)
def test_inputs(variant: str, size: str) -> None:
    config = problem.configure(variant, size)
    first, again, other = problem.draw(config, 5), problem.draw(config, 5), problem.draw(config, 6)
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert not np.array_equal(first["params"], other["params"])
    assert first["params"].shape == (problem.layout(config).size,) == (TASK.work(config)["parameters"],)
    assert first["bonds"].dtype == np.int64
    if config.alternating:
        signs = sum(graphs.signs(pair, config.qubits) for pair in first["bonds"])
        expected = signs if variant == "tfim" else (len(first["bonds"]) - signs) / 2
        assert np.array_equal(first["diagonal"], expected) and first["diagonal"].dtype == np.float64
    else:
        assert np.array_equal(np.sort(first["permutation"]), np.arange(2**config.qubits))


def test_sizes_are_the_declared_ones() -> None:
    found = {(c.variant, c.size): (c.qubits, c.depth) for c in (problem.configure(*case) for case in ALL_CASES)}
    assert found == {
        ("tfim", "tiny"): (4, 2), ("tfim", "small"): (10, 5), ("tfim", "medium"): (16, 8), ("tfim", "large"): (20, 10),
        ("heisenberg", "tiny"): (4, 3), ("heisenberg", "small"): (8, 8), ("heisenberg", "medium"): (12, 10),
        ("heisenberg", "large"): (20, 10), ("maxcut", "tiny"): (6, 1), ("maxcut", "small"): (10, 4),
        ("maxcut", "medium"): (16, 8), ("maxcut", "large"): (20, 10),
    }  # fmt: skip
    assert problem.layout(problem.configure("tfim", "small")).name_of(7) == "beta[2]"


def test_work_is_not_counted_of_another_circuit() -> None:
    config = problem.configure("maxcut", "tiny")
    theta, data = inputs(config)
    data["diagonal"] = data["diagonal"][::-1] + 1
    with pytest.raises(ValueError, match="not those of the bonds"):
        reference.build(config, "reverse").work(theta, data)


def test_what_is_no_problem_is_told() -> None:
    config = problem.configure("tfim", "tiny")
    with pytest.raises(UsageError, match="even number of qubits, 4 at least, not 5"):
        replace(config, qubits=5)
    with pytest.raises(UsageError, match="at least one layer"):
        replace(config, depth=0)
    with pytest.raises(UsageError, match="has not 7 vertices"):
        replace(problem.configure("maxcut", "tiny"), qubits=7)
    with pytest.raises(UsageError, match="no variant"):
        problem.configure("tfim", "huge")


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_chunks_of_shifted_circuits_do_not_matter(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = problem.configure("tfim", "tiny")
    theta, data = inputs(config)
    whole = called(backend, config, "parameter_shift")("gradient", theta, data)[1]
    monkeypatch.setattr(tables, "CHUNK_BYTES", 7 * 2 * tables.circuit_bytes(config.qubits, config.depth, 8))
    assert problem.shifts(config) % 7
    chunked = calling.called.__wrapped__(TASK.name, backend, config, "parameter_shift")("gradient", theta, data)[1]
    np.testing.assert_allclose(chunked, whole, rtol=0, atol=1e-14)
