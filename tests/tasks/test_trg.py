"""The tensor renormalisation group against exact lattices, published figures, differences and the textbook rule."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diffprog import tasks
from diffprog.agree import verdict
from diffprog.backends import get as get_backend
from diffprog.backends.base import Prepared
from diffprog.errors import UsageError
from diffprog.measure import finite_differences
from diffprog.spec import SIZES, Array, Arrays, Case
from diffprog.tasks.trg import exact, lattice, network, problem, reference
from diffprog.tasks.trg.exact import CRITICAL
from diffprog.tasks.trg.problem import TrgConfig
from diffprog.tasks.trg.spec import TASK
from tests.tasks.calling import relative

BACKENDS = ("numpy", "torch", "jax")
CASES = [(variant, size) for variant in TASK.variants for size in ("tiny", "small")]
TORUS = TrgConfig("classic", "4x4 torus", 16, 4, 1)
"""Sixteen singular values lose nothing in four steps: the 4×4 torus exactly."""
RANDOM_TORUS = TrgConfig("disordered", "4x4 torus", 16, 4, 4)

backends = pytest.mark.parametrize("backend", BACKENDS)
cases = pytest.mark.parametrize(("variant", "size"), CASES)


def prepared(backend: str, config: TrgConfig, inputs: Arrays, precision: str = "float64") -> Prepared:
    if backend != "numpy":
        pytest.importorskip(backend)
    opened = get_backend(backend)
    opened.open(precision, "cpu", 1)
    return opened.prepare("trg", config, "reverse", dict(inputs))


def gradient(backend: str, config: TrgConfig, inputs: Arrays) -> tuple[float, Array]:
    cell = prepared(backend, config, inputs)
    return cell.fetch(cell.derivative())


def at(config: TrgConfig, coupling: float) -> Arrays:
    inputs = TASK.draw(config, 0)
    return inputs | {"params": np.full_like(inputs["params"], coupling)}


@functools.cache
def all_spins() -> Array:
    """The products of neighbours on the 4×4 torus, bond by bond in θ's order, for all 2¹⁶ states: (65536, 32)."""
    spins = 1 - 2 * (np.arange(2**16)[:, None] >> np.arange(16) & 1).reshape(-1, 4, 4)
    right, down = spins * np.roll(spins, -1, axis=2), spins * np.roll(spins, -1, axis=1)
    return np.concatenate([right.reshape(-1, 16), down.reshape(-1, 16)], axis=1)


def enumerated(couplings: Array) -> tuple[float, Array]:
    """Ln Z per site of the 4×4 torus and its gradient, ⟨ss′⟩/16, by summing over all states."""
    exponent = all_spins() @ couplings
    weights = np.exp(exponent - exponent.max())
    return float(exponent.max() + np.log(weights.sum())) / 16, weights @ all_spins() / weights.sum() / 16


@backends
@pytest.mark.parametrize(
    ("coupling", "value", "energy"),
    [
        (0.3, 0.799095207857, -0.844054073624),
        (0.4, 0.910068313990, -1.379116482259),
        (CRITICAL, 0.970119716172, -1.565623787638),
        (0.5, 1.069085444921, -1.755380288777),
    ],
)
def test_the_4x4_torus_is_exact(backend: str, coupling: float, value: float, energy: float) -> None:
    found, slope = gradient(backend, TORUS, at(TORUS, coupling))
    exact, correlations = enumerated(np.full(32, coupling))
    assert found == pytest.approx(exact, rel=1e-13)
    assert -slope[0] == pytest.approx(-correlations.sum(), rel=1e-12)
    assert found == pytest.approx(value, abs=1e-12)
    assert -slope[0] == pytest.approx(energy, abs=1e-12)


@backends
@pytest.mark.parametrize("seed", range(3))
def test_a_disordered_4x4_torus_is_exact(backend: str, seed: int) -> None:
    inputs = TASK.draw(RANDOM_TORUS, seed)
    value, slope = gradient(backend, RANDOM_TORUS, inputs)
    exact, correlations = enumerated(inputs["params"])
    assert value == pytest.approx(exact, rel=1e-13)
    assert relative(slope, correlations) < 1e-12


def test_sixteen_are_needed_and_enough() -> None:
    exact, _ = enumerated(np.full(32, 0.45))
    errors = [abs(gradient("numpy", replace(TORUS, chi=chi), at(TORUS, 0.45))[0] - exact) for chi in (8, 15, 16, 20)]
    assert errors[0] > errors[1] > 1e-12 > max(errors[2:])


@backends
@pytest.mark.parametrize("coupling", [0.3, CRITICAL])
def test_the_specific_heat_of_the_4x4_torus(backend: str, coupling: float) -> None:
    """C/N = K² ∂²(ln Z/N)/∂K² from differences of the exact first derivative, against the variance over all states.

    The rule cannot be differentiated again (see the README), so differences it is.
    """
    contract = {0.3: 0.440992653577, CRITICAL: 0.783266825929}[coupling]

    def slope(theta: Array) -> float:
        return float(gradient(backend, TORUS, TASK.draw(TORUS, 0) | {"params": theta})[1][0])

    second = finite_differences.directional(slope, np.array([coupling]), np.ones(1), step=0.02, halvings=6)
    bonds = all_spins().sum(axis=1, dtype=np.float64)
    weights = np.exp(coupling * (bonds - bonds.max()))
    mean, square = (weights @ bonds**power / weights.sum() for power in (1, 2))
    assert coupling**2 * second.value == pytest.approx(coupling**2 * (square - mean**2) / 16, rel=1e-9)
    assert coupling**2 * second.value == pytest.approx(contract, rel=1e-9)


def test_the_rule_refuses_to_be_differentiated_again() -> None:
    torch = pytest.importorskip("torch")
    from diffprog.tasks.trg import split_torch

    leaf = torch.tensor([[1.0, 0.0], [0.0, 0.5]]).unsqueeze(0).requires_grad_()
    a, b, _ = split_torch.split_once(leaf, 1)
    (first,) = torch.autograd.grad((a @ b.mT).square().sum(), leaf, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize(
    ("coupling", "value", "error"),
    [
        (0.3, 0.7905590709512629, -7e-9),
        (0.4, 0.8793638207749482, -7.6e-7),
        (CRITICAL, None, -4.3e-6),
        (0.5, 1.025792812694918, -6.15e-7),
    ],
)
@backends
def test_onsager(backend: str, coupling: float, value: float | None, error: float) -> None:
    """2²⁰ sites at χ = 16 differ from the torus of 1024² sites by the truncation alone, and by this much."""
    config = problem.configure("classic", "small")
    cell = prepared(backend, config, at(config, coupling))
    found = cell.fetch_value(cell.value())
    assert found - exact.torus_log_partition(1024, coupling) == pytest.approx(error, rel=0.1)
    if value is not None:  # away from the critical point such a torus is as good as infinite, but for its two phases
        phases = np.log(2) / 2**20 if coupling > CRITICAL else 0.0
        assert found - value == pytest.approx(error + phases, abs=0.1 * abs(error))


def test_the_exact_solutions() -> None:
    """Kaufman's torus against all its states and, when large, Onsager; the energy against the differences of ln Z."""
    for coupling, value in (
        (0.3, 0.7905590709512629),
        (0.4, 0.8793638207749482),
        (0.44, 0.9287285404568885),
        (0.45, 0.9433837730987934),
        (0.5, 1.025792812694918),
    ):
        assert exact.log_partition(coupling) == pytest.approx(value, rel=1e-14)
        torus, _ = enumerated(np.full(32, coupling))
        assert exact.torus_log_partition(4, coupling) == pytest.approx(torus, rel=1e-12)
        if abs(coupling - CRITICAL) > 0.03:
            phases = np.log(2) / 2**20 if coupling > CRITICAL else 0.0
            assert exact.torus_log_partition(1024, coupling) == pytest.approx(value + phases, rel=1e-13)
    assert exact.torus_log_partition(4, CRITICAL) == pytest.approx(enumerated(np.full(32, CRITICAL))[0], rel=1e-12)
    for coupling in (0.3, 0.5):
        slope = finite_differences.directional(
            lambda x: exact.log_partition(float(x[0])), np.array([coupling]), np.ones(1), step=0.02, halvings=6
        )
        assert exact.energy(coupling) == pytest.approx(-slope.value, rel=1e-9)


@backends
def test_published_anchor(backend: str) -> None:
    config = TrgConfig("classic", "anchor", 20, 20, 1)
    value, slope = gradient(backend, config, at(config, 0.5))
    assert value == pytest.approx(1.0257933734351765, rel=1e-14)
    assert slope[0] == pytest.approx(1.7455677143228514, rel=1e-12)


@pytest.mark.parametrize(
    ("variant", "size", "seed"),
    [
        ("classic", "tiny", 0),
        ("classic", "tiny", 1),
        ("classic", "small", 2),
        ("disordered", "tiny", 0),
        ("disordered", "small", 1),
    ],
)
def test_the_reference_agrees_with_finite_differences(variant: str, size: str, seed: int) -> None:
    config = TASK.configure(variant, size)
    batch = TASK.draw(config, seed)
    theta = batch.pop("params")
    functions = reference.build(config, "reverse")
    _, slope = functions.gradient(theta, batch)
    directions = np.linalg.qr(np.random.default_rng(seed).standard_normal((theta.size, min(2, theta.size))))[0].T
    error, bound = finite_differences.check(lambda x: float(functions.value(x, batch)), theta, slope, directions)
    assert error <= bound
    # Near the critical point, where 2²⁰ sites are nearly singular in K, differences prove less.
    assert bound < (1e-7 if config.iterations < 20 else 1e-4)


@pytest.mark.parametrize("backend", ["torch", "jax"])
@cases
def test_gradient_is_the_references(backend: str, variant: str, size: str) -> None:
    config = TASK.configure(variant, size)
    for seed in range(3 if size == "tiny" else 1):
        inputs = TASK.draw(config, seed)
        value, slope = gradient("numpy", config, inputs)
        found, other = gradient(backend, config, inputs)
        assert found == pytest.approx(value, rel=1e-13)
        assert other.shape == slope.shape and other.dtype == np.float64
        assert relative(other, slope) < TASK.tolerance


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("coupling", [0.301, CRITICAL])
def test_agreement_where_truncation_cuts_a_near_multiplet(backend: str, coupling: float) -> None:
    """At K = 0.301 the last value kept and the first dropped differ by 1e-10 in some steps."""
    config = problem.configure("classic", "small")
    value, slope = gradient("numpy", config, at(config, coupling))
    found, other = gradient(backend, config, at(config, coupling))
    assert found == pytest.approx(value, rel=1e-12)
    assert relative(other, slope) < TASK.tolerance


@backends
def test_a_uniform_disordered_torus_is_the_classic_one(backend: str) -> None:
    for config in (problem.configure("disordered", "small"), RANDOM_TORUS):
        value, slope = gradient(backend, config, at(config, 0.42))
        classic = replace(config, variant="classic", side=1)
        expected, total = gradient("numpy", classic, at(classic, 0.42))
        assert value == pytest.approx(expected, rel=1e-12)
        assert slope.sum() == pytest.approx(total[0], rel=1e-10)
        assert np.allclose(slope, slope.mean(), rtol=0.05)  # truncation need not respect every translation


def textbook(factors: network.Svd, a_bar: Array, b_bar: Array, eta: float) -> Array:
    """The reverse rule of the full SVD, as published, for cotangents of U√S and V√S of the first k columns."""
    u, s, v = factors
    k = a_bar.shape[-1]
    m_bar = []
    for u_, s_, v_, a_, b_ in zip(u, s, v, a_bar, b_bar, strict=True):
        u_bar, v_bar, s_bar, root = np.zeros_like(u_), np.zeros_like(v_), np.zeros_like(s_), np.sqrt(s_[:k])
        u_bar[:, :k], v_bar[:, :k] = a_ * root, b_ * root
        s_bar[:k] = ((u_[:, :k] * a_).sum(axis=0) + (v_[:, :k] * b_).sum(axis=0)) / (2 * root)
        x, y, d, g = u_.T @ u_bar, v_.T @ v_bar, s_ - s_[:, None], s_ + s_[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            f = d / (d * d + eta)
        np.fill_diagonal(f, 0)
        g[k:, k:] = 1  # between two dropped values, perhaps zero both: X and Y vanish there
        m_bar.append(u_ @ ((f + 1 / g) * (x - x.T) / 2 + (f - 1 / g) * (y - y.T) / 2 + np.diag(s_bar)) @ v_.T)
    return np.stack(m_bar)


@cases
def test_the_rule_is_the_textbooks(variant: str, size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TASK.configure(variant, size)
    inputs = TASK.draw(config, 0)
    _, ours = gradient("numpy", config, inputs)
    monkeypatch.setattr(reference, "split_vjp", functools.partial(textbook, eta=problem.ETA))
    _, theirs = gradient("numpy", config, inputs)
    assert relative(theirs, ours) < 1e-10  # where all is broadened, some terms are left out


@pytest.mark.filterwarnings("ignore:invalid value")
def test_the_textbooks_rule_needs_broadening_and_ours_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Symmetry makes singular values equal to the last bit; the textbook then divides zero by zero."""
    config = TrgConfig("classic", "chi 8", 8, 20, 1)
    inputs = at(config, 0.35)
    _, ours = gradient("numpy", config, inputs)
    with monkeypatch.context() as patch:
        patch.setattr(problem, "ETA", 0.0)
        patch.setattr(network, "ETA", 0.0)
        _, unbroadened = gradient("numpy", config, inputs)
    monkeypatch.setattr(reference, "split_vjp", functools.partial(textbook, eta=0.0))
    _, theirs = gradient("numpy", config, inputs)
    assert np.isnan(theirs).all()
    assert relative(unbroadened, ours) < 1e-10


@backends
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_equal_and_vanishing_singular_values(backend: str, precision: str) -> None:
    """M = diag(1, 1, 0, 0), cut after two, and the loss |ABᵀ|²/2, which is symmetric: M̄ = M exactly."""
    matrix = np.diag([1.0, 1.0, 0.0, 0.0]).astype(precision)[None]
    if backend == "numpy":
        a, b, factors = network.split(matrix, 2)
        product = a @ b.swapaxes(1, 2)
        m_bar = network.split_vjp(factors, product @ b, product.swapaxes(1, 2) @ a)
    elif backend == "torch":
        torch = pytest.importorskip("torch")
        from diffprog.tasks.trg import split_torch

        leaf = torch.tensor(matrix, requires_grad=True)
        a, b, _ = split_torch.split_once(leaf, 2)
        ((a @ b.mT).square().sum() / 2).backward()
        m_bar = leaf.grad.numpy()
    else:
        jax = pytest.importorskip("jax")
        from diffprog.tasks.trg import on_jax

        def loss(matrices: Any) -> Any:
            a, b, _ = on_jax.split(matrices, 2)
            return ((a @ b.mT) ** 2).sum() / 2

        with jax.enable_x64(precision == "float64"):
            m_bar = np.asarray(jax.jit(jax.grad(loss))(matrix))
    assert m_bar.dtype == precision
    np.testing.assert_allclose(m_bar, matrix, atol=4 * float(np.finfo(precision).eps))


@backends
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_kept_zero_is_never_taken_for_an_answer(backend: str) -> None:
    """At K = 0 the spins' matrices have rank 1, but two values are kept: √s has no derivative there."""
    config = problem.configure("classic", "tiny")
    value, slope = gradient(backend, config, at(config, 0.0))
    assert value == pytest.approx(np.log(2), rel=1e-14)
    cell = tasks.cell(Case("trg", "classic", "tiny", 0), backend, "reverse", "gradient", "float64", "cpu")
    found = {"value": np.asarray(value), "gradient": slope}
    assert "not finite" in verdict.damage(TASK, cell, config, found)
    assert "K = 0:" in TASK.undefined(config, at(config, 0.0))  # so that the driver does not even try
    assert not TASK.undefined(config, at(config, 0.1))


@backends
@pytest.mark.parametrize(("variant", "size"), [("classic", "tiny"), ("disordered", "tiny")])
def test_float32_stays_float32_and_is_near(backend: str, variant: str, size: str) -> None:
    config = TASK.configure(variant, size)
    inputs = TASK.draw(config, 1)
    _, slope = gradient("numpy", config, inputs)
    cell = prepared(backend, config, inputs, "float32")
    _, single = cell.fetch(cell.derivative())
    assert single.dtype == np.float32
    assert relative(single, slope) < 1e-4
    assert all(x.dtype == np.float32 and np.isfinite(x).all() for x in cell.outputs().values())


@backends
@pytest.mark.parametrize(("variant", "size"), [("classic", "tiny"), ("disordered", "tiny")])
def test_the_work_is_counted_not_promised(backend: str, variant: str, size: str) -> None:
    config = TASK.configure(variant, size)
    assert prepared(backend, config, TASK.draw(config, 0)).work() == TASK.work(config)


def test_the_work_is_what_is_expected() -> None:
    small = problem.configure("classic", "small")
    assert problem.work(small) == {
        "parameters": 1,
        "iterations": 20,
        "svds": 40,
        "bond_dimension": 16,
        "multiply_adds": sum(
            2 * d**3 * k**2 + d**2 * k**4 for d, k in [(2, 2), (2, 4), (4, 4), (4, 16)] + 16 * [(16, 16)]
        ),
    }
    assert problem.work(problem.configure("disordered", "tiny"))["svds"] == 16 + 8 + 4 + 2


@backends
def test_outputs_fit_the_value(backend: str) -> None:
    for config in (TORUS, RANDOM_TORUS):
        inputs = TASK.draw(config, 0)
        cell = prepared(backend, config, inputs)
        outputs, (value, slope) = cell.outputs(), cell.fetch(cell.derivative())
        assert value == pytest.approx(cell.fetch_value(cell.value()), rel=1e-14)
        assert outputs["free_energy"] == pytest.approx(-value, rel=1e-14)
        assert outputs["energy"] == pytest.approx(-slope.sum(), rel=1e-13)
        expected = enumerated(np.broadcast_to(inputs["params"], 32))[1] * 16
        assert outputs["correlations"] == pytest.approx(expected[: slope.size], rel=1e-11)
        assert outputs["spectrum"].shape == (16,)
        assert outputs["spectrum"][0] == pytest.approx(1, rel=1e-15)  # XLA may multiply by the reciprocal
        assert (np.diff(outputs["spectrum"]) <= 0).all()


def test_bond_dimensions() -> None:
    assert lattice.bond_dimensions(4, 5) == (2, 4, 4, 4, 4)
    assert lattice.bond_dimensions(8, 5) == (2, 4, 4, 8, 8)
    assert lattice.bond_dimensions(16, 6) == (2, 4, 4, 16, 16, 16)
    assert lattice.bond_dimensions(48, 7) == (2, 4, 4, 16, 16, 48, 48)


def test_what_the_schedule_leaves_out_is_exactly_zero() -> None:
    inputs = TASK.draw(replace(RANDOM_TORUS, chi=256), 0)
    spins = network.initial(inputs["params"][inputs["bonds"]])
    plan = lattice.steps(4, 256, 4)
    _, _, tapes = network.coarse_grain(plan, spins, inputs)
    for step, _, _, (_, s, _), _ in tapes:
        assert (s[:, step.keep :] < 1e-14).all()
        assert (s[:, : step.keep] > 1e-9).all()


@pytest.mark.parametrize("side", [2, 4, 8, 16])
def test_tables_join_every_leg_once(side: int) -> None:
    bonds, plaquettes = lattice.tables(side)
    assert (np.bincount(bonds.ravel()) == 2).all()
    assert (np.bincount(bonds[:, 0]) <= 1).all()
    start, half = 0, side * side // 2
    while half:
        for row in plaquettes[:, start : start + half]:
            assert np.array_equal(np.sort(row), np.arange(half))
        start, half = start + half, half // 2
    assert start == plaquettes.shape[1] == side * side - 1


def test_translation_of_the_couplings_permutes_the_gradient() -> None:
    inputs = TASK.draw(RANDOM_TORUS, 0)
    grid = inputs["params"].reshape(2, 4, 4)
    moved = np.roll(grid, (1, 2), axis=(1, 2)).ravel()
    value, slope = gradient("numpy", RANDOM_TORUS, inputs)
    other, moved_slope = gradient("numpy", RANDOM_TORUS, inputs | {"params": moved})
    assert other == pytest.approx(value, rel=1e-13)
    assert np.allclose(np.roll(slope.reshape(2, 4, 4), (1, 2), axis=(1, 2)).ravel(), moved_slope, rtol=1e-11)


def test_a_failing_svd_is_tried_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    matrices = np.random.default_rng(0).standard_normal((3, 4, 4))

    def fail(_: Array) -> None:
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", fail)
    u, s, v = network.svd(matrices)
    np.testing.assert_allclose(u * s[:, None] @ v.swapaxes(1, 2), matrices, atol=1e-14)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("variant", TASK.variants)
def test_inputs(variant: str, size: str) -> None:
    config = problem.configure(variant, size)
    inputs = problem.draw(config, 0)
    assert {name: str(array.dtype) for name, array in inputs.items()} == {
        "params": "float64",
        "weights": "float64",
        "bonds": "int64",
        "plaquettes": "int64",
    }
    assert (inputs["params"] > 0).all()  # √sinh K
    assert inputs["bonds"].shape == (config.side**2, 4)
    if variant == "disordered":
        assert 2**config.iterations == config.side**2  # one tensor is left
    assert problem.layout(config).name_of(0) == ("K[0]" if variant == "classic" else "right[0,0]")


def test_unknown_size() -> None:
    with pytest.raises(UsageError, match="no variant"):
        problem.configure("classic", "huge")
