"""The JAX side of an operation, on a route that needs no Julia: each transform against JAX's own derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from suite.interop.wire import What
from tests.interop.numpy_route import NumpyRoute

jax = pytest.importorskip("jax")
on_jax = pytest.importorskip("suite.interop.on_jax")
jnp = jax.numpy


@pytest.fixture(autouse=True)
def x64() -> Any:
    with jax.enable_x64(True):
        yield


@pytest.fixture
def route() -> NumpyRoute:
    return NumpyRoute()


@pytest.fixture
def op(route: NumpyRoute) -> Any:
    return on_jax.JaxOp(route.load(), None, keep=8)


def own(x: Any, w: Any) -> Any:
    """The same function, differentiated by JAX."""
    return jnp.sin(x) * w, jnp.sum(x * w)


def inputs(dtype: str = "float64") -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3))
    if dtype.startswith("complex"):
        x, w = x + 1j * rng.standard_normal(3), w - 1j * rng.standard_normal(3)
    return jnp.asarray(x.astype(dtype)), jnp.asarray(w.astype(dtype))


def loss(f: Callable[..., Any]) -> Callable[..., Any]:
    def total(x: Any, w: Any) -> Any:
        y, s = f(x, w)
        return jnp.sum(jnp.abs(y) ** 2) * jnp.real(s * jnp.conj(s))

    return total


def same(found: Any, expected: Any, rtol: float = 1e-12) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol), found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_gradient_in_every_dtype(op: Any, dtype: str) -> None:
    x, w = inputs(dtype)
    found = jax.jit(jax.grad(loss(op), (0, 1)))(x, w)
    assert found[0].dtype == dtype
    same(found, jax.grad(loss(own), (0, 1))(x, w), 1e-12 if x.real.dtype == np.float64 else 1e-5)


TRANSFORMS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "primal": lambda f, x, w: f(x, w),
    "vjp": lambda f, x, w: jax.vjp(f, x, w)[1]((w, jnp.sum(x))),
    "jvp": lambda f, x, w: jax.jvp(f, (x, w), (w, x)),
    "jvp of one argument": lambda f, x, w: jax.jvp(lambda x: f(x, w), (x,), (w,)),
    "vmap": lambda f, x, w: jax.vmap(f, (0, None))(jnp.stack([x, 2 * x]), w),
    "vmap of vmap of grad": lambda f, x, w: jax.vmap(jax.vmap(jax.grad(loss(f)), (0, None)), (None, 0))(
        jnp.stack([x, 2 * x]), jnp.stack([w, -w, 3 * w])
    ),
    "jacrev": lambda f, x, w: jax.jacrev(f, (0, 1))(x, w),
    "jacfwd": lambda f, x, w: jax.jacfwd(f, (0, 1))(x, w),
    "forward over reverse": lambda f, x, w: jax.hessian(loss(f), (0, 1))(x, w),
    "reverse over reverse": lambda f, x, w: jax.jacrev(jax.grad(loss(f)))(x, w),
    "reverse over forward": lambda f, x, w: jax.grad(lambda x: jax.jvp(lambda x: loss(f)(x, w), (x,), (w,))[1])(x),
    "scan": lambda f, x, w: jax.grad(lambda x: jax.lax.scan(lambda c, _: (f(c, w)[0], None), x, None, 5)[0].sum())(x),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(op: Any, name: str) -> None:
    x, w = inputs()
    expected = TRANSFORMS[name](own, x, w)
    same(TRANSFORMS[name](op, x, w), expected)
    same(jax.jit(lambda x, w: TRANSFORMS[name](op, x, w))(x, w), expected)


def test_what_julia_has_no_rule_for_is_refused(op: Any) -> None:
    x, w = inputs()
    with pytest.raises(NotImplementedError, match="no third derivatives"):
        jax.grad(lambda x: jax.hessian(loss(op))(x, w).sum())(x)
    with pytest.raises(Exception, match="forward over reverse"):
        jax.block_until_ready(jax.jacfwd(jax.jacfwd(lambda x: op(x, w)))(x))


def test_the_pullback_is_kept_from_the_forward_pass_and_freed_after_the_backward_pass(
    op: Any, route: NumpyRoute
) -> None:
    x, w = inputs()
    gradient = jax.jit(jax.value_and_grad(loss(op)))
    for _ in range(100):
        gradient(x, w)
    assert op.recomputed == 0
    assert route.asked.count(What.FORWARD) == 100
    assert route.held() == 0


def test_a_second_use_is_computed_again_and_what_is_never_used_is_bounded(op: Any, route: NumpyRoute) -> None:
    x, w = inputs()
    _, pull = jax.vjp(op, x, w)
    first, second = pull((w, jnp.sum(x))), pull((w, jnp.sum(x)))
    same(first, second)
    assert op.recomputed == 1
    for _ in range(50):
        jax.vjp(op, x, w)
    assert route.held() <= 9


def test_shapes_can_be_declared(route: NumpyRoute) -> None:
    def result(x: Any, w: Any) -> Any:
        return x, jax.ShapeDtypeStruct((), x.dtype)

    op = on_jax.JaxOp(route.load(), result, keep=8)
    x, w = inputs()
    jax.eval_shape(op, x, w)
    assert What.CALL not in route.asked
    same(op(x, w), own(x, w))
    wrong = on_jax.JaxOp(route.load(), lambda x, w: (x, x), keep=8)
    with pytest.raises(Exception, match=r"returned shape \(\), not \(3,\)"):
        jax.block_until_ready(wrong(x, w))
