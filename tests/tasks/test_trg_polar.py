"""The SVD that trg takes on a GPU, on the CPU: as good as LAPACK's, whatever the matrices, and so are the gradients."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from diffprog import tasks
from diffprog.spec import Array
from diffprog.tasks.trg import polar

Svd = Callable[[Array], tuple[Array, Array, Array]]


def by_torch(matrices: Array) -> tuple[Array, Array, Array]:
    torch = pytest.importorskip("torch")
    from diffprog.tasks.trg import polar_torch

    u, s, vt = polar_torch.svd(torch.from_numpy(matrices))
    return u.numpy(), s.numpy(), vt.numpy()


def by_jax(matrices: Array) -> tuple[Array, Array, Array]:
    jax = pytest.importorskip("jax")
    from diffprog.tasks.trg import polar_jax

    with jax.enable_x64(True):
        u, s, vt = map(np.asarray, jax.jit(polar_jax.svd)(matrices))
    return u, s, vt


BACKENDS = pytest.mark.parametrize("svd", [by_torch, by_jax])


def graded(order: int, least: float, seed: int) -> Array:
    """A pair of matrices whose singular values fall evenly from 1 to ``least``."""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.standard_normal((2, order, order)))[0] for _ in range(2))
    found: Array = u * np.geomspace(1, least, order) @ v
    return found


def multiplets(order: int) -> Array:
    """Exactly symmetric, with equal, vanishing and negative eigenvalues, and a row of zeros."""
    found = np.zeros((1, order, order))
    found[0, : order // 2, : order // 2] = np.diag([3.0, 3.0, -3.0, -1.0, 1.0, *[0.5] * (order // 2 - 5)])
    return found


def shifted(order: int) -> Array:
    """The null spaces on the left and on the right share no vector."""
    return np.eye(order, k=order // 2)[None]


MATRICES = {
    "well conditioned": graded(24, 1e-2, 0),
    "graded": graded(64, 1e-18, 1),
    "graded beyond the smallest number": graded(16, 1e-300, 2),
    "multiplets and zeros": multiplets(32),
    "null spaces apart": shifted(32),
    "one singular value": np.outer(np.arange(1, 17), np.arange(2, 18))[None].astype(float),
    "of order one": np.array([[[-2.0]]]),
    "scaled": 1e150 * graded(8, 1e-3, 3),
}


@BACKENDS
@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_as_good_as_an_svd(svd: Svd, name: str, dtype: str) -> None:
    if name == "scaled" and dtype == "float32":
        pytest.skip("no float32 is that large")
    matrices = MATRICES[name].astype(dtype)
    u, s, vt = svd(matrices)
    assert {x.dtype for x in (u, s, vt)} == {np.dtype(dtype)}
    order, eps = matrices.shape[-1], float(np.finfo(dtype).eps)
    allowed = 4 * eps * max(order, 16)
    u, s, vt, exact = (x.astype(np.float64) for x in (u, s, vt, matrices))
    largest = np.linalg.norm(exact, 2, axis=(1, 2))[:, None]
    for q in (u, vt):
        assert np.abs(q.mT @ q - np.eye(order)).max() <= allowed
    assert (np.abs((u * s[:, None]) @ vt - exact) / largest[..., None]).max() <= allowed
    assert (np.abs(np.sort(s)[:, ::-1] - np.linalg.svd(exact, compute_uv=False)) / largest).max() <= allowed


@BACKENDS
def test_without_the_change_a_singular_matrix_has_no_vectors(svd: Svd, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the change is what mends it: a multiple of a matrix of ones is no matrix of full rank."""
    monkeypatch.setattr(polar, "MULTIPLIERS", (0, 0))
    u, _, _ = svd(shifted(12))
    assert np.abs(u.mT @ u - np.eye(12)).max() > 0.5


def test_the_added_matrix_is_the_same_on_both() -> None:
    torch, jnp = pytest.importorskip("torch"), pytest.importorskip("jax.numpy")
    from diffprog.tasks.trg import polar_jax, polar_torch

    ours, theirs = polar_torch.full_rank(48, torch.ones(1)).numpy(), np.asarray(polar_jax.full_rank(48, jnp.float32))
    np.testing.assert_allclose(ours, theirs, rtol=3e-7)  # a quotient may be off by a rounding
    assert np.linalg.svd(ours, compute_uv=False)[-1] > 48 / polar.MARGIN


def test_no_step_shrinks_a_singular_value_against_the_largest() -> None:
    """The condition for backward stability, on all of [0, 1] and a rounding beyond."""
    x = np.linspace(0, 1 + 1e-6, 100_001)
    for a, b in ((polar.GROWTH, polar.GROWTH - polar.REACHED), (1.5, 0.5)):
        y = x * (a - b * x * x)
        assert 0 < y.max() <= 1 + 1e-6
        assert (y >= polar.REACHED * y.max() * x - 1e-12).all()
    x = np.full(1, polar.REACHED)
    for _ in range(polar.POLISH):
        x = x * (1.5 - 0.5 * x * x)
    assert abs(x[0] - 1) < 1e-15


@pytest.mark.parametrize(
    ("order", "dtype", "called"),
    [(16, "float64", "gesvd"), (81, "float64", "syevd"), (256, "float32", "gesvd"), (576, "float32", "syevd")],
)
def test_the_rule_on_a_gpu_is_one(order: int, dtype: str, called: str) -> None:
    """By what is lowered for CUDA, which needs no such device, and by what PyTorch would ask."""
    jax = pytest.importorskip("jax")
    from jax import export

    from diffprog.tasks.trg import split_jax

    with jax.enable_x64(True):
        shape = jax.ShapeDtypeStruct((2, order, order), dtype)
        lowered = export.export(jax.jit(split_jax.svd), platforms=["cuda"])(shape)
    assert set(re.findall(r"custom_call @cusolver_(\w+)_ffi", lowered.mlir_module())) == {called}
    assert polar.suits(order, np.dtype(dtype).itemsize) == (called == "syevd")


@pytest.fixture
def on_polar(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both backends as if on a GPU."""
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    from diffprog.tasks.trg import polar_jax, polar_torch, split_jax, split_torch

    monkeypatch.setattr(split_torch, "svd", polar_torch.svd)
    monkeypatch.setattr(split_jax, "svd", polar_jax.svd)
    yield


@pytest.mark.parametrize("variant", ["classic", "disordered"])
@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_those_of_lapack(on_polar: None, backend: str, variant: str, seed: int) -> None:
    framework: Any = pytest.importorskip(backend)
    task = tasks.get("trg")
    config = task.configure(variant, "tiny")
    inputs = task.draw(config, seed)
    theta = inputs.pop("params")
    value, gradient = tasks.functions("trg", "numpy", config, "reverse").gradient(theta, inputs)
    functions = tasks.functions("trg", backend, config, "reverse")
    if backend == "torch":
        told = functions.gradient(framework.from_numpy(theta), {k: framework.from_numpy(x) for k, x in inputs.items()})
    else:
        with framework.enable_x64(True):
            told = framework.jit(functions.gradient)(theta, inputs)
    assert float(told[0]) == pytest.approx(value, rel=1e-13)
    assert np.linalg.norm(np.asarray(told[1]) - gradient) <= 1e-11 * np.linalg.norm(gradient)
