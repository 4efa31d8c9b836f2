"""The eigensolver against exact chains, the textbook's matrices and finite differences, backends against it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, reduce
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from diffprog import tasks
from diffprog.agree import verdict
from diffprog.backends import get as get_backend
from diffprog.backends.base import Prepared
from diffprog.errors import Unsupported, UsageError
from diffprog.measure import finite_differences
from diffprog.run import plan
from diffprog.spec import Array, Arrays, Case
from diffprog.tasks.eigensolver import fermions, hamiltonian, krylov, problem, reference, spec
from diffprog.tasks.eigensolver.problem import EigensolverConfig
from diffprog.tasks.eigensolver.spec import TASK
from tests.conftest import Runner
from tests.tasks.calling import relative

BACKENDS = ("numpy", "torch", "jax")
X, Z = np.array([[0.0, 1.0], [1.0, 0.0]]), np.diag([1.0, -1.0])

backends = pytest.mark.parametrize("backend", BACKENDS)
methods = pytest.mark.parametrize("method", TASK.methods)
LOSSES = ("ground_state", "spectrum")
variants = pytest.mark.parametrize("variant", LOSSES)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices, on processors that others may use: more threads would wait for each other."""
    with threadpool_limits(1):
        yield


@pytest.fixture(autouse=True)
def build_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX compiles a function once, as long as it is the same function."""
    monkeypatch.setattr(tasks, "functions", FUNCTIONS)


FUNCTIONS = cache(tasks.functions)


def chain(variant: str, sites: int, levels: int | None = None) -> EigensolverConfig:
    size = {4: "tiny", 8: "small"}.get(sites, "by hand")
    return EigensolverConfig(variant, size, sites, levels or (1 if variant == "ground_state" else 4))


def prepared(
    backend: str, config: EigensolverConfig, method: str, inputs: Arrays, precision: str = "float64"
) -> Prepared:
    if backend != "numpy":
        pytest.importorskip(backend)
    opened = get_backend(backend)
    opened.open(precision, "cpu", 1)
    return opened.prepare("eigensolver", config, method, dict(inputs))


def gradient(backend: str, config: EigensolverConfig, method: str, inputs: Arrays) -> tuple[float, Array]:
    cell = prepared(backend, config, method, inputs)
    with np.errstate(all="ignore"):  # where a gradient does not exist NumPy warns before it returns NaN
        return cell.fetch(cell.derivative())


def uniform(sites: int, J: float = 1.0, h: float = 1.0) -> Array:
    return np.repeat([J, h], sites)


# The textbook: Kronecker products of Pauli matrices, and free fermions. Nothing is shared with the task but θ's order.


@cache
def terms(sites: int) -> tuple[Array, ...]:
    """dH/dθ_k, (2ᴸ, 2ᴸ) each. Site 0 is the least significant bit, so it is the last factor."""

    def on(pauli: Array, *where: int) -> Array:
        factors = [reduce(np.matmul, [pauli] * where.count(i), np.eye(2)) for i in reversed(range(sites))]
        return reduce(np.kron, factors)

    return (*[-on(Z, i, (i + 1) % sites) for i in range(sites)], *[-on(X, i) for i in range(sites)])


def textbook(theta: Array) -> Array:
    return np.asarray(sum(x * term for x, term in zip(theta, terms(len(theta) // 2), strict=True)))


def free_fermions(theta: Array) -> float:
    """E₀ of positive couplings: minus the singular values of the antiperiodic hopping (Lieb, Schultz, Mattis)."""
    J, h = np.split(theta, 2)
    hopping = np.diag(h) - np.diag(J[:-1], 1)
    hopping[-1, 0] += J[-1]
    return -float(np.linalg.svd(hopping, compute_uv=False).sum())


@pytest.mark.parametrize("sites", [2, 3, 4, 5])
def test_matrix_and_operator_are_the_textbooks(sites: int) -> None:
    rng = np.random.default_rng(sites)
    theta, (w, v) = rng.standard_normal(2 * sites), rng.standard_normal((2, 2**sites))
    H, operator = textbook(theta), hamiltonian.Operator(theta)
    np.testing.assert_allclose(hamiltonian.matrix(*np.split(theta, 2)), H, atol=1e-15)
    np.testing.assert_allclose(operator(v), H @ v, atol=1e-14)
    slope = [w @ term @ v for term in terms(sites)]
    np.testing.assert_allclose(hamiltonian.matrix_vjp(w, v), slope, atol=1e-14)
    np.testing.assert_allclose(operator.vjp(w, v), slope, atol=1e-14)


@backends
@methods
@pytest.mark.parametrize(("sites", "energy"), [(4, -5.2262518595), (6, -7.7274066103), (8, -10.2516617910)])
def test_the_critical_chain_is_that_of_free_fermions(backend: str, method: str, sites: int, energy: float) -> None:
    """E₀ = −2/sin(π/2L), gap 2 tan(π/4L) at J = h = 1: Pfeuty, Ann. Phys. 57 (1970) 79."""
    config = chain("ground_state", sites)
    inputs = TASK.draw(config, 0) | {"params": uniform(sites)}
    outputs = prepared(backend, config, method, inputs).outputs()
    assert outputs["energies"][0] == pytest.approx(-2 / np.sin(np.pi / (2 * sites)), rel=1e-13)
    assert outputs["energies"][0] == pytest.approx(energy, abs=1e-10)
    assert outputs["gap"] == pytest.approx(2 * np.tan(np.pi / (4 * sites)), abs=1e-12)


@backends
@methods
def test_random_chains_are_free_fermions(backend: str, method: str) -> None:
    config = chain("ground_state", 8)
    inputs = TASK.draw(config, 0)
    energy = prepared(backend, config, method, inputs).outputs()["energies"][0]
    assert energy == pytest.approx(free_fermions(inputs["params"]), rel=1e-13)


@pytest.mark.parametrize("sites", [2, 3, 4, 6])
def test_the_closed_form_is_the_textbooks(sites: int) -> None:
    """Free fermions against matrices of Kronecker products, and their slopes against differences of themselves."""
    for seed in range(5):
        theta, planted = np.random.default_rng([sites, seed]).uniform(0.5, 1.5, (2, 2 * sites))
        (E, V), (_, W) = (np.linalg.eigh(textbook(couplings)) for couplings in (theta, planted))
        energies, slopes = fermions.levels(theta, 4)
        np.testing.assert_allclose(energies, E[:4], atol=1e-13)
        assert energies[0] == pytest.approx(free_fermions(theta), rel=1e-14)
        for slope, v in zip(slopes, V.T, strict=False):
            np.testing.assert_allclose(slope, [v @ term @ v for term in terms(sites)], atol=1e-12)
        overlap, slope = fermions.overlap(theta, planted)
        assert overlap == pytest.approx(abs(V[:, 0] @ W[:, 0]), rel=1e-13)

        def value(x: Array, other: Array = planted) -> float:
            return fermions.overlap(x, other)[0]

        error, bound = finite_differences.check(value, theta, slope, np.eye(2 * sites))
        assert error <= bound < 1e-7


def test_there_is_no_closed_form_where_a_coupling_is_negative() -> None:
    config = TASK.configure("ground_state", "tiny")
    inputs = TASK.draw(config, 0)
    assert TASK.closed_form(config, inputs) is not None
    assert TASK.closed_form(config, inputs | {"params": -inputs["params"]}) is None


@backends
@methods
def test_levels_are_the_textbooks_and_none_is_missed(backend: str, method: str) -> None:
    """Degenerate ones too: of a degenerate level a single Krylov space holds one vector."""
    config = chain("spectrum", 4)
    inputs = TASK.draw(config, 1)
    alternating = np.tile([1, -1], 4) * inputs["params"]
    for theta in (inputs["params"], alternating, uniform(4), uniform(4, J=0), uniform(4, h=0)):
        energies = prepared(backend, config, method, inputs | {"params": theta}).outputs()["energies"]
        np.testing.assert_allclose(energies, np.linalg.eigvalsh(textbook(theta))[:5], atol=1e-13)


@backends
@methods
def test_hellmann_feynman(backend: str, method: str) -> None:
    """dE₀/dh_i = −<X_i> and dE₀/dJ_i = −<Z_i Z_{i+1}>: the gradient of (E₀ − E₀*)² over 2 (E₀ − E₀*)."""
    config = chain("spectrum", 4, levels=1)
    inputs = TASK.draw(config, 2)
    state = prepared(backend, chain("ground_state", 4), method, TASK.draw(chain("ground_state", 4), 2)).outputs()
    inputs["params"] = TASK.draw(chain("ground_state", 4), 2)["params"]
    _, slope = gradient(backend, config, method, inputs)
    v0, error = state["state"], state["energies"][0] - inputs["target"][0]
    np.testing.assert_allclose(slope / (2 * error), [v0 @ term @ v0 for term in terms(4)], atol=1e-12)


@backends
@methods
@pytest.mark.parametrize("size", ["tiny", "small"])
def test_the_ground_state_does_not_know_the_unit_of_energy(backend: str, method: str, size: str) -> None:
    """Euler's identity: L(tθ) = L(θ), so θ·∇L = 0."""
    config = TASK.configure("ground_state", size)
    inputs = TASK.draw(config, 0)
    _, slope = gradient(backend, config, method, inputs)
    assert abs(inputs["params"] @ slope) <= 1e-14
    double = inputs | {"params": 2 * inputs["params"]}
    assert gradient(backend, config, method, double)[1] == pytest.approx(slope / 2, rel=1e-11, abs=1e-15)


@backends
@methods
def test_two_sites_are_two_level_systems(backend: str, method: str) -> None:
    """E = ∓√(J² + h²) with J = J₀ + J₁, h = h₀ + h₁ for even states, h₀ − h₁ for odd; v₀ turns by half of atan(h/J)."""
    config = chain("ground_state", 2)
    inputs = TASK.draw(config, 0)
    J, h, d = (float(x) for x in np.array([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, -1]]) @ inputs["params"])
    planted = 0.3
    even = np.array([[1, 0, 0, 1], [0, 1, 1, 0]]) / np.sqrt(2)
    inputs["target"] = np.array([np.cos(planted / 2), np.sin(planted / 2)]) @ even
    turn = (np.arctan2(h, J) - planted) / 2
    value, slope = gradient(backend, config, method, inputs)
    assert value == pytest.approx(1 - np.cos(turn), abs=1e-15)
    by_h, by_J = np.sin(turn) / 2 * np.array([J, -h]) / (J**2 + h**2)
    np.testing.assert_allclose(slope, [by_J, by_J, by_h, by_h], atol=1e-15)

    config = chain("spectrum", 2, levels=3)
    inputs["target"] = np.array([-4.0, -2.0, 1.0])
    r, s = np.hypot(J, h), np.hypot(J, d)
    value, slope = gradient(backend, config, method, inputs)
    errors = np.array([-r, -s, s]) - inputs["target"]
    assert value == pytest.approx(errors @ errors, rel=1e-13)
    by_r, by_s = -2 * errors[0], 2 * (errors[2] - errors[1])
    by_J, by_h, by_d = by_r * J / r + by_s * J / s, by_r * h / r, by_s * d / s
    np.testing.assert_allclose(slope, [by_J, by_J, by_h + by_d, by_h - by_d], rtol=1e-12)


def test_the_rule_is_the_textbooks() -> None:
    """H̄ = V [diag Ē + ½ F ∘ (VᵀV̄ − V̄ᵀV)] Vᵀ, F_ij = 1/(E_j − E_i), formed in full."""
    for variant in LOSSES:
        config = TASK.configure(variant, "tiny")
        inputs = TASK.draw(config, 0)
        energies, V = np.linalg.eigh(textbook(inputs["params"]))
        E_bar, V_bar = np.zeros(16), np.zeros((16, 16))
        if variant == "ground_state":
            V_bar[:, 0] = -np.sign(V[:, 0] @ inputs["target"]) * inputs["target"]
        else:
            E_bar[:4] = 2 * (energies[:4] - inputs["target"])
        difference = energies - energies[:, None]
        F = np.divide(1, difference, out=np.zeros_like(difference), where=~np.eye(16, dtype=bool))
        H_bar = V @ (np.diag(E_bar) + F * (V.T @ V_bar - V_bar.T @ V) / 2) @ V.T
        _, slope = gradient("numpy", config, "dense", inputs)
        assert relative(slope, np.array([(H_bar * term).sum() for term in terms(4)])) < 1e-13


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", ["tiny", "small"])
@variants
def test_the_reference_agrees_with_finite_differences(variant: str, size: str, seed: int) -> None:
    config = TASK.configure(variant, size)
    data = TASK.draw(config, seed)
    theta = data.pop("params")
    functions = tasks.functions("eigensolver", "numpy", config, "dense")
    _, slope = functions.gradient(theta, data)
    directions = np.linalg.qr(np.random.default_rng(seed).standard_normal((theta.size, 2)))[0].T
    error, bound = finite_differences.check(lambda x: float(functions.value(x, data)), theta, slope, directions)
    assert error <= bound
    assert bound < 1e-7  # else the check would prove nothing


@backends
@pytest.mark.parametrize("size", ["tiny", "small"])
@variants
def test_backends_and_methods_agree_with_the_reference(backend: str, variant: str, size: str) -> None:
    config = TASK.configure(variant, size)
    inputs = TASK.draw(config, 1)
    value, expected = gradient("numpy", config, "dense", inputs)
    for method in TASK.methods:
        cell = prepared(backend, config, method, inputs)
        found, slope = cell.fetch(cell.derivative())
        assert found == pytest.approx(value, rel=1e-12, abs=1e-13)
        assert cell.fetch_value(cell.value()) == pytest.approx(found, rel=1e-13, abs=1e-14)
        assert slope.dtype == np.float64 and slope.shape == expected.shape
        assert relative(slope, expected) < 1e-12
        exact = TASK.closed_form(config, inputs)
        assert exact is not None
        assert found == pytest.approx(exact[0], rel=1e-12, abs=1e-13)
        assert relative(slope, exact[1]) < 1e-12


def test_seed_after_seed() -> None:
    for variant in LOSSES:
        config = TASK.configure(variant, "tiny")
        for seed in range(20):
            inputs = TASK.draw(config, seed)
            expected, found = (gradient("numpy", config, method, inputs)[1] for method in TASK.methods)
            assert relative(found, expected) < 1e-12


@backends
def test_medium_is_the_references(backend: str) -> None:
    config = TASK.configure("ground_state", "medium")
    inputs = TASK.draw(config, 0)
    _, expected = gradient("numpy", config, "dense", inputs)
    for method in TASK.methods:
        assert relative(gradient(backend, config, method, inputs)[1], expected) < 1e-12


@backends
@methods
@pytest.mark.parametrize(("J", "h"), [(1.0, 1.0), (0.0, 1.0), (0.1, 1.0)])
def test_excited_levels_may_be_degenerate(backend: str, method: str, J: float, h: float) -> None:
    """The ground state is not, and its derivative is as good as ever, where built-in rules divide by zero."""
    config = chain("ground_state", 4)
    inputs = TASK.draw(config, 0) | {"params": uniform(4, J, h)}
    assert np.diff(np.linalg.eigvalsh(textbook(inputs["params"]))).min() < 1e-14
    _, slope = gradient(backend, config, method, inputs)
    data = dict(inputs)
    theta, functions = data.pop("params"), reference.build(config, "dense")
    error, _ = finite_differences.check(lambda x: float(functions.value(x, data)), theta, slope, np.eye(8))
    assert error < 1e-9


@backends
@methods
def test_a_degenerate_ground_state_is_no_answer(backend: str, method: str) -> None:
    """Without a field all up and all down have one energy: NaN, called by its name, and not some gradient."""
    config = chain("ground_state", 4)
    inputs = TASK.draw(config, 0) | {"params": uniform(4, h=0)}
    value, slope = gradient(backend, config, method, inputs)
    assert np.isnan(slope).all()
    case = Case("eigensolver", "ground_state", "tiny", 0)
    cell = tasks.cell(case, backend, method, "gradient", "float64", "cpu")
    assert "not finite" in verdict.damage(TASK, cell, config, {"value": np.zeros(()), "gradient": slope})
    assert np.isnan(value) or method == "dominant"  # Lanczos finds one of the ground states, and cannot know


@backends
@methods
def test_degenerate_levels_have_no_derivatives(backend: str, method: str) -> None:
    config = chain("spectrum", 4)
    value, slope = gradient(backend, config, method, TASK.draw(config, 0) | {"params": uniform(4)})
    assert np.isnan(value)
    assert np.isnan(slope).all()


@backends
@methods
@variants
def test_the_gradient_vanishes_where_the_target_is_met(backend: str, method: str, variant: str) -> None:
    config = TASK.configure(variant, "tiny")
    inputs = TASK.draw(config, 0)
    outputs = prepared(backend, config, method, inputs).outputs()
    inputs["target"] = outputs["state"] if variant == "ground_state" else outputs["energies"][: config.levels]
    value, slope = gradient(backend, config, method, inputs)
    assert abs(value) < 1e-14
    np.testing.assert_allclose(slope, 0, atol=1e-13)


@backends
@methods
@variants
def test_float32_stays_float32_and_is_near(backend: str, method: str, variant: str) -> None:
    config = TASK.configure(variant, "tiny")
    inputs = TASK.draw(config, 1)
    _, expected = gradient("numpy", config, "dense", inputs)
    cell = prepared(backend, config, method, inputs, "float32")
    _, slope = cell.fetch(cell.derivative())
    assert slope.dtype == np.float32
    assert 1e-9 < relative(slope, expected) < TASK.float32_floor
    assert all(x.dtype == np.float32 for x in cell.outputs().values() if x.dtype.kind == "f")


@backends
@methods
@variants
def test_the_work_is_counted_not_promised(backend: str, method: str, variant: str) -> None:
    config = TASK.configure(variant, "small")
    inputs = TASK.draw(config, 0)
    assert prepared(backend, config, method, inputs).work() == TASK.work(config)


@backends
@methods
def test_outputs_fit_the_value(backend: str, method: str) -> None:
    config = TASK.configure("ground_state", "small")
    inputs = TASK.draw(config, 0)
    cell = prepared(backend, config, method, inputs)
    outputs = cell.outputs()
    assert 1 - outputs["overlap"] == pytest.approx(cell.fetch_value(cell.value()), abs=1e-14)
    assert outputs["state"] @ inputs["target"] == pytest.approx(outputs["overlap"], abs=1e-14)
    assert np.linalg.norm(outputs["state"]) == pytest.approx(1, abs=1e-14)
    assert outputs["gap"] == np.diff(outputs["energies"]).min()
    assert ("applications" in outputs) == (method == "dominant")


def test_the_gradient_is_said_not_to_exist_where_levels_coincide() -> None:
    """Not to rounding, on any backend: nobody is asked for a number then. Neighbours of the loss's levels count too."""
    undefined = TASK.undefined
    for config in (chain("ground_state", 4), chain("spectrum", 4)):
        inputs = TASK.draw(config, 0)
        assert undefined(config, inputs) == ""
        told = undefined(config, inputs | {"params": uniform(4, h=0)})
        assert told.startswith("levels 0 and 1 coincide")
        assert "does not exist" in told
    inputs = TASK.draw(chain("spectrum", 4), 0) | {"params": uniform(4)}
    assert undefined(chain("ground_state", 4), inputs) == ""
    assert undefined(chain("spectrum", 4), inputs).startswith("levels 3 and 4 coincide")


def test_the_gradient_is_said_not_to_exist_where_the_overlap_vanishes() -> None:
    """Excited states, and what has the other parity: |<v₀|ψ>| has a cusp at 0, and its sign there is chance."""
    config = chain("ground_state", 4)
    inputs = TASK.draw(config, 0)
    theta = inputs["params"]
    _, vectors = np.linalg.eigh(hamiltonian.matrix(*np.split(theta, 2)))
    flipped = vectors[:, 0][::-1].copy()
    odd = np.random.default_rng(0).standard_normal(16)
    odd -= odd[::-1]
    for target in (vectors[:, 1], vectors[:, 7], odd / np.linalg.norm(odd)):
        assert "orthogonal to the target" in TASK.undefined(config, inputs | {"target": target})
    for target in (flipped, vectors[:, 0], inputs["target"], vectors[:, 1] + 1e-6 * vectors[:, 0]):
        assert TASK.undefined(config, inputs | {"target": target}) == ""


def test_a_run_reports_degenerate_levels_as_unsupported(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = replace(TASK, draw=lambda config, seed: TASK.draw(config, seed) | {"params": uniform(4, h=0)})
    monkeypatch.setattr(spec, "TASK", flat)
    request = plan.Request(tasks=("eigensolver",), variants=("ground_state",), backends=("numpy",))
    records = run(request)
    assert {record.method for record in records} == set(TASK.methods)
    assert {record.outcome for record in records} == {"unsupported"}
    assert all("levels 0 and 1 coincide" in record.reason for record in records)


def test_long_chains_have_sixteen_sites_and_another_reference() -> None:
    cells = plan.cells(plan.Request(tasks=("eigensolver",), variants=("long_chain",), sizes=("large",)))
    assert TASK.configure("long_chain", "large").sites == 16
    assert cells[0].method == "dominant"
    assert {cell.method for cell in cells} == set(TASK.methods)
    plan.check_memory(cells, limit=2**30)
    values = plan.cells(plan.Request(tasks=("eigensolver",), variants=("long_chain",), operators=("value",)))
    assert {cell.method for cell in values} == {"dominant"}


@backends
def test_a_matrix_that_does_not_fit_is_refused(backend: str) -> None:
    """By name and with its size, before anything is allocated."""
    for size, told in (("medium", "2 GiB"), ("large", "32 GiB")):
        config = TASK.configure("long_chain", size)
        nothing = {name: np.zeros(2) for name in ("params", "start", "target")}
        with pytest.raises(Unsupported, match=f"has {told}, and dense goes up to 12 sites: use dominant"):
            prepared(backend, config, "dense", nothing)


@backends
def test_sixteen_sites_without_a_matrix(backend: str) -> None:
    """The matrix would have 32 GiB."""
    config, inputs = sixteen()
    cell = prepared(backend, config, "dominant", inputs)
    assert cell.outputs()["energies"][0] == pytest.approx(free_fermions(inputs["params"]), rel=1e-13)
    _, slope = cell.fetch(cell.derivative())
    assert abs(inputs["params"] @ slope) < 1e-13
    exact = TASK.closed_form(config, inputs)
    assert exact is not None
    assert relative(slope, exact[1]) < 1e-12


@cache
def sixteen() -> tuple[EigensolverConfig, Arrays]:
    config = TASK.configure("long_chain", "large")
    return config, TASK.draw(config, 0)


def test_a_few_vectors_of_memory() -> None:
    config, inputs = sixteen()
    data = dict(inputs)
    theta, functions = data.pop("params"), reference.build(config, "dominant")
    functions.gradient(theta, data)  # tables that are kept
    tracemalloc.start()
    functions.gradient(theta, data)
    vectors = tracemalloc.get_traced_memory()[1] / (8 * 2**16)
    tracemalloc.stop()
    assert vectors < 2 * krylov.BASIS + 16
    assert problem.memory(config, "dominant", 8) > vectors * 8 * 2**16


def test_conjugate_gradients_that_fail_say_so() -> None:
    A = np.diag([0.0, 1.0, 2.0])
    scale = np.array(2.0)
    assert krylov.solve(lambda x: A @ x, np.array([0.0, 3.0, 4.0]), scale) == pytest.approx([0, 3, 2])
    with np.errstate(all="ignore"):
        for lowest in (0, 1e-15, -1e-12):
            A[0, 0] = lowest
            assert np.isnan(krylov.solve(lambda x: A @ x, np.ones(3), scale)).all()


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_lanczos_survives_an_invariant_subspace(backend: str) -> None:
    """A start with four eigenvectors in it, of forty; the lowest of these is found."""
    spectrum = np.linspace(-1, 1, 40)
    start = np.isin(np.arange(40), [3, 10, 20, 39]).astype(float)
    scale: Any = np.float64(2)
    lowest: Any = krylov.lowest
    put: Any = np.asarray
    if backend == "torch":
        torch = pytest.importorskip("torch")
        from diffprog.tasks.eigensolver import krylov_torch

        lowest, put = krylov_torch.lowest, torch.as_tensor
    elif backend == "jax":
        jax = pytest.importorskip("jax")
        from diffprog.tasks.eigensolver import krylov_jax

        jax.config.update("jax_enable_x64", True)
        lowest, put = krylov_jax.lowest, jax.numpy.asarray
    diagonal = put(spectrum)
    found = lowest(lambda v: diagonal * v, put(start), put(scale))
    assert float(found.energy) == pytest.approx(spectrum[3], abs=1e-14)
    np.testing.assert_allclose(np.abs(np.asarray(found.vector)), np.eye(40)[3], atol=1e-13)


@methods
def test_jax_has_forward_and_second_derivatives(method: str) -> None:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    config = TASK.configure("ground_state", "tiny")
    inputs = TASK.draw(config, 0) | {"params": uniform(4)}  # excited levels are degenerate
    data = {name: jax.numpy.asarray(x) for name, x in inputs.items()}
    theta = data.pop("params")
    functions = tasks.functions("eigensolver", "jax", config, method)
    direction = jax.numpy.asarray(np.random.default_rng(0).standard_normal(8))
    slope = jax.jit(functions.gradient)(theta, data)[1]
    forward = jax.jvp(lambda x: functions.value(x, data), (theta,), (direction,))[1]
    assert forward == pytest.approx(float(slope @ direction), abs=1e-13)
    gradient_of = jax.jit(lambda x: functions.gradient(x, data)[1])
    _, curvature = jax.jvp(gradient_of, (theta,), (direction,))
    h = 1e-3
    f = [np.asarray(gradient_of(theta + k * h * direction)) for k in (-2, -1, 1, 2)]
    np.testing.assert_allclose(curvature, (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h), atol=1e-9)


@variants
@pytest.mark.parametrize("size", ["tiny", "small", "medium"])
def test_inputs(variant: str, size: str) -> None:
    config = TASK.configure(variant, size)
    first, again, other = TASK.draw(config, 5), TASK.draw(config, 5), TASK.draw(config, 6)
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert not np.array_equal(first["params"], other["params"])
    assert {str(x.dtype) for x in first.values()} == {"float64"}
    assert first["params"].shape == (TASK.layout(config).size,) == (2 * config.sites,)
    assert first["start"].shape == (2**config.sites,)
    assert first["target"].shape == ((2**config.sites,) if variant == "ground_state" else (4,))
    if variant == "ground_state":
        assert np.linalg.norm(first["target"]) == pytest.approx(1, rel=1e-14)
    for seed in range(5):
        energies = np.linalg.eigvalsh(hamiltonian.matrix(*np.split(TASK.draw(config, seed)["params"], 2)))
        assert np.diff(energies[: config.levels + 1]).min() >= problem.MIN_GAP * (1 - 1e-9)


def test_layout_and_memory() -> None:
    config = TASK.configure("spectrum", "large")
    assert TASK.layout(config).name_of(11) == "J[11]"
    assert TASK.layout(config).name_of(12) == "h[0]"
    assert TASK.memory(config, "dominant", 8) < TASK.memory(config, "dense", 8) / 100
    assert TASK.memory(replace(config, sites=16), "dominant", 8) < 64 * 8 * 2**16
    with pytest.raises(UsageError, match="no variant"):
        TASK.configure("spectrum", "huge")
