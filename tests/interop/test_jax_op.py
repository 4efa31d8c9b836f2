"""The JAX side of an operation, on a route that needs no Julia: each transform against JAX's own derivatives."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from diffprog.interop.wire import What
from tests.interop.numpy_route import NumpyRoute

jax = pytest.importorskip("jax")
checkify = pytest.importorskip("jax.experimental.checkify")
odeint = pytest.importorskip("jax.experimental.ode").odeint
jet = pytest.importorskip("jax.experimental.jet")
sparse = pytest.importorskip("jax.experimental.sparse")
minimize = pytest.importorskip("jax.scipy.optimize").minimize
on_jax = pytest.importorskip("diffprog.interop.on_jax")
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


def custom_vmap(f: Callable[..., Any], x: Any, w: Any) -> Any:
    own = jax.custom_batching.custom_vmap(lambda x: f(x, w)[0])
    own.def_vmap(lambda size, batched, x: (jax.vmap(lambda x: f(x, w)[0])(x), True))
    each = jax.custom_batching.sequential_vmap(lambda x: f(x, w)[0])
    return jax.vmap(own)(jnp.stack([x, 2 * x])), jax.vmap(each)(jnp.stack([x, 2 * x]))


def custom_vjp(f: Callable[..., Any], x: Any, w: Any) -> Any:
    own = jax.custom_vjp(lambda x, w: f(x, w)[1])
    own.defvjp(lambda x, w: jax.vjp(lambda x, w: f(x, w)[1], x, w), lambda pull, bar: pull(2 * bar))
    return jax.grad(own, (0, 1))(x, w)


def custom_jvp(f: Callable[..., Any], x: Any, w: Any) -> Any:
    own = jax.custom_jvp(lambda x: f(x, w)[1])
    own.defjvp(lambda primals, tangents: jax.jvp(lambda x: f(x, w)[1], primals, tangents))
    return jax.grad(own)(x)


def closure_convert(f: Callable[..., Any], x: Any, w: Any) -> Any:
    converted, constants = jax.closure_convert(lambda x: f(x, w)[0], x)
    return converted(x, *constants)


def custom_root(f: Callable[..., Any], x: Any, w: Any) -> Any:
    def solve(g: Any, y: Any) -> Any:
        return jax.lax.fori_loop(0, 20, lambda _, y: y - g(y) / (jnp.cos(y) * w), y)

    def tangent_solve(g: Any, b: Any) -> Any:
        return jnp.linalg.solve(jax.jacobian(g)(b), b)

    return jax.grad(lambda a: jax.lax.custom_root(lambda y: f(y, w)[0] - a * w, x * 0, solve, tangent_solve).sum())(0.1)


def sharded(f: Callable[..., Any]) -> Any:
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("i",))
    along, whole = jax.sharding.PartitionSpec("i"), jax.sharding.PartitionSpec()
    return jax.shard_map(lambda x, w: f(x, w)[0], mesh=mesh, in_specs=(along, whole), out_specs=along)


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
    "value_and_grad": lambda f, x, w: jax.value_and_grad(loss(f))(x, w),
    "vjp with aux": lambda f, x, w: jax.vjp(lambda x: (f(x, w)[1], f(x, w)[0]), x, has_aux=True)[1](jnp.ones(())),
    "linearize": lambda f, x, w: jax.linearize(f, x, w)[1](w, x),
    "checkpoint": lambda f, x, w: jax.grad(jax.checkpoint(loss(f)), (0, 1))(x, w),
    "checkpoint that saves nothing": lambda f, x, w: jax.hessian(
        jax.checkpoint(loss(f), policy=jax.checkpoint_policies.nothing_saveable)
    )(x, w),
    "forward over reverse, along": lambda f, x, w: jax.jvp(jax.grad(loss(f)), (x, w), (w, x)),
    "vmap by other axes": lambda f, x, w: jax.vmap(f, (1, None), (1, 0))(jnp.stack([x, 2 * x], 1), w),
    "vmap with a name": lambda f, x, w: jax.vmap(lambda x: jax.lax.psum(f(x, w)[0], "i"), axis_name="i")(
        jnp.stack([x, 2 * x])
    ),
    "vmap of one and of none": lambda f, x, w: [jax.vmap(f, (0, None))(jnp.ones((count, 3)), w) for count in (1, 0)],
    "vmap of hessian": lambda f, x, w: jax.vmap(jax.hessian(loss(f)), (0, None))(jnp.stack([x, 2 * x]), w),
    "vmap of tangents": lambda f, x, w: jax.vmap(lambda v: jax.jvp(f, (x, w), (v, w)))(jnp.eye(3)),
    "grad of vmap": lambda f, x, w: jax.grad(lambda x: jax.vmap(jax.jit(f), (0, None))(x, w)[0].sum())(
        jnp.stack([x, 2 * x])
    ),
    "jnp.vectorize": lambda f, x, w: jnp.vectorize(f, signature="(n),(n)->(n),()")(jnp.stack([x, 2 * x]), w),
    "lax.map": lambda f, x, w: jax.lax.map(lambda x: f(x, w), jnp.stack([x, 2 * x]), batch_size=1),
    "associative_scan": lambda f, x, w: jax.lax.associative_scan(
        jax.vmap(lambda a, b: f(a, b)[0]), jnp.stack([x, 2 * x, w])
    ),
    "custom_vmap": custom_vmap,
    "custom_vjp": custom_vjp,
    "custom_jvp": custom_jvp,
    "custom_gradient": lambda f, x, w: jax.grad(jax.custom_gradient(lambda x: (f(x, w)[1], lambda bar: (bar * w,))))(x),
    "custom_root": custom_root,
    "custom_linear_solve": lambda f, x, w: jax.lax.custom_linear_solve(
        lambda v: 2 * v + f(w, v)[0], x, lambda _, b: b / (2 + jnp.sin(w))
    ),
    "closure_convert": closure_convert,
    "cond": lambda f, x, w: jax.grad(
        lambda x: jax.lax.cond(x[0] > 0, lambda x: f(x, w)[1], lambda x: f(2 * x, w)[1], x)
    )(x),
    "switch": lambda f, x, w: jax.grad(lambda x: jax.lax.switch(1, [jnp.sum, lambda x: f(x, w)[1]], x))(x),
    "while_loop": lambda f, x, w: jax.jvp(
        lambda x: jax.lax.while_loop(lambda c: c[1] < 3, lambda c: (f(c[0], w)[0], c[1] + 1), (x, 0))[0], (x,), (w,)
    ),
    "fori_loop": lambda f, x, w: jax.grad(lambda x: jax.lax.fori_loop(0, 3, lambda _, c: f(c, w)[0], x).sum())(x),
    "checkify": lambda f, x, w: checkify.checkify(f)(x, w)[1],
    "odeint": lambda f, x, w: jax.grad(lambda x: odeint(lambda y, _: f(y, w)[0], x, jnp.array([0.0, 1.0])).sum())(x),
    "minimize": lambda f, x, w: (
        minimize(lambda x: loss(f)(x, w) + jnp.sum(x**2), x, method="BFGS", options={"maxiter": 2}).x
    ),
    "optimization_barrier": lambda f, x, w: jax.lax.optimization_barrier(f(x, w)),
    "shard_map": lambda f, x, w: jax.jvp(
        jax.grad(lambda x, w: jnp.sum(sharded(f)(x, w) ** 2), (0, 1)),
        (jnp.stack([x, 2 * x]), jnp.stack([w, -w])),
        (jnp.stack([w, x]), jnp.stack([x, w])),
    ),
    "eval_shape": lambda f, x, w: [one.size for one in jax.eval_shape(f, x, w)],
    "numbers and arrays of NumPy": lambda f, x, w: (f(np.arange(3.0)[::-1], np.ones(3)), f(2.0, 3.0)[1]),
    "an integer input": lambda f, x, w: jax.hessian(lambda x: jnp.sum(f(x, jnp.arange(3))[0] ** 2))(x),
    "an integer batch": lambda f, x, w: jax.vmap(jax.grad(lambda w, n: f(n, w)[1]), (None, 0))(
        w, jnp.arange(6).reshape(2, 3)
    ),
    "allow_int": lambda f, x, w: jax.grad(lambda x, n: f(x, n)[1], (0, 1), allow_int=True)(x, jnp.arange(3))[0],
    "scan": lambda f, x, w: jax.grad(lambda x: jax.lax.scan(lambda c, _: (f(c, w)[0], None), x, None, 5)[0].sum())(x),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(op: Any, name: str) -> None:
    x, w = inputs()
    expected = TRANSFORMS[name](own, x, w)
    rtol = 1e-6 if name == "odeint" else 1e-12  # its steps are of its own choice
    same(TRANSFORMS[name](op, x, w), expected, rtol)
    same(jax.jit(lambda x, w: TRANSFORMS[name](op, x, w))(x, w), expected, rtol)


def test_transforms_that_have_no_jit_of_their_own(op: Any) -> None:
    x, w = inputs()
    same(jax.jit(op).lower(x, w).compile()(x, w), own(x, w))
    same(jax.jit(op, donate_argnums=0)(x + 0, w), own(x, w))
    y, pull = jax.vjp(op, x, w)
    same(jax.jit(lambda pull, bars: pull(bars))(pull, y), jax.vjp(own, x, w)[1](y))
    with jax.disable_jit():
        same(jax.jit(jax.grad(loss(op)))(x, w), jax.grad(loss(own))(x, w))
    same(jax.pmap(op)(x[None], w[None]), jax.tree.map(lambda one: one[None], own(x, w)))
    if hasattr(jax, "fwd_and_bwd"):
        forward, backward = jax.fwd_and_bwd(op, argnums=(0, 1))
        y, kept = forward(x, w)
        same(backward(kept, y), jax.vjp(own, x, w)[1](y))


class IntegersToo(NumpyRoute):
    """f has a third result, whether x is positive, as integers."""

    def on_call(self, key: int, arrays: list[Any]) -> Any:
        return 0, [*super().on_call(key, arrays)[1], (arrays[0] > 0).astype(np.int32)]

    def on_pullback(self, key: int, arrays: list[Any]) -> Any:
        return super().on_pullback(key, arrays[:2])

    def on_pushforward(self, key: int, arrays: list[Any]) -> Any:
        return 0, [*super().on_pushforward(key, arrays)[1], np.zeros(arrays[0].shape, np.int32)]

    def on_second(self, key: int, arrays: list[Any]) -> Any:
        return super().on_second(key, arrays[:6])


def own_too(x: Any, w: Any) -> Any:
    return *own(x, w), (x > 0).astype(jnp.int32)


COTANGENTS: dict[str, Callable[[Any], Any]] = {
    "float0": lambda x: (x, jnp.sum(x), np.zeros(3, jax.dtypes.float0)),
    "integers": lambda x: (x, jnp.sum(x), jnp.ones(3, jnp.int32)),
    "floats for integers": lambda x: (x, jnp.sum(x), np.zeros(3)),
    "numbers of Python": lambda x: (x, 1.0, np.zeros(3, jax.dtypes.float0)),
    "numbers of NumPy": lambda x: (np.asarray(x), np.float64(1), np.zeros(3, jax.dtypes.float0)),
    "weak types": lambda x: (x, jnp.asarray(1.0), np.zeros(3, jax.dtypes.float0)),
    "another dtype": lambda x: (x.astype(jnp.float32), 1.0, np.zeros(3, jax.dtypes.float0)),
    "another shape": lambda x: (1.0, 1.0, np.zeros(3, jax.dtypes.float0)),
    "complex": lambda x: (x + 1j, 1.0, np.zeros(3, jax.dtypes.float0)),
    "None": lambda x: (x, 1.0, None),
    "a list": lambda x: [x, 1.0, np.zeros(3, jax.dtypes.float0)],
}


@pytest.mark.parametrize("name", COTANGENTS)
def test_cotangents_are_taken_and_refused_as_by_jax_itself(name: str) -> None:
    op = on_jax.JaxOp(IntegersToo().load(), None, keep=8)
    x, w = inputs()
    bars = COTANGENTS[name](x)
    try:
        expected = jax.vjp(own_too, x, w)[1](bars)
    except (TypeError, ValueError) as error:
        with pytest.raises(type(error)):
            jax.vjp(op, x, w)[1](bars)
    else:
        same(jax.vjp(op, x, w)[1](bars), expected)
        same(jax.jit(lambda bars: jax.vjp(op, x, w)[1](bars))((*bars[:2], jnp.zeros(3, jnp.int32))), expected)


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_tangents_of_another_dtype_are_refused_as_by_jax_itself(op: Any, dtype: str) -> None:
    x, w = inputs()
    for f in (own, op):
        with pytest.raises(TypeError, match="dtypes must be equal"):
            jax.jvp(f, (x, w), (w.astype(dtype), w))


def test_integer_results_within_loops_and_derivatives() -> None:
    op = on_jax.JaxOp(IntegersToo().load(), None, keep=8)
    x, w = inputs()

    def steps(f: Callable[..., Any], x: Any) -> Any:
        return jax.lax.scan(lambda c, _: (f(c, w)[0], f(c, w)[2]), x, None, 2)

    same(jax.jvp(partial(steps, op), (x,), (w,))[0], jax.jvp(partial(steps, own_too), (x,), (w,))[0])
    same(jax.grad(lambda x: steps(op, x)[0].sum())(x), jax.grad(lambda x: steps(own_too, x)[0].sum())(x))
    same(jax.hessian(lambda x: op(x, w)[1] ** 2)(x), jax.hessian(lambda x: own(x, w)[1] ** 2)(x))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8", "uint32"])
def test_what_cannot_cross_is_told(route: NumpyRoute, dtype: str) -> None:
    op = on_jax.JaxOp(route.load(), lambda x, w: (x, x), keep=8)
    with pytest.raises(TypeError, match=f"dtype {dtype} cannot cross to Julia"):
        jax.jit(op)(jnp.ones(3, dtype), jnp.ones(3, dtype))


REFUSED: dict[str, tuple[Callable[[Any, Any, Any], Any], str]] = {
    "jet": (lambda f, x, w: jet.jet(lambda x: f(x, w)[1], (x,), ([w],)), "no Taylor series"),
    "export": (lambda f, x, w: jax.export.export(jax.jit(f))(x, w), "callbacks"),
    "linear_transpose": (lambda f, x, w: jax.linear_transpose(lambda w: f(x, w)[0], w)(x), "'julia_call' not impl"),
    "sparsify": (lambda f, x, w: sparse.sparsify(f)(sparse.BCOO.fromdense(x), w), "sparse rule"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_jax_cannot_do_with_it_is_refused(op: Any, name: str) -> None:
    call, told = REFUSED[name]
    with pytest.raises(NotImplementedError, match=told):
        call(op, *inputs())


@pytest.mark.parametrize("again", [copy.deepcopy, copy.copy, lambda op: pickle.loads(pickle.dumps(op))])
def test_copies(op: Any, again: Callable[[Any], Any]) -> None:
    x, w = inputs()
    jax.vjp(op, x, w)  # a pullback that waits stays with the first
    same(jax.jit(jax.grad(loss(again(op))))(x, w), jax.grad(loss(own))(x, w))


def test_a_pullback_that_is_gone_is_computed_again(op: Any, route: NumpyRoute) -> None:
    """Julia has been started again in between, or this process has forked."""
    x, w = inputs()
    y, pull = jax.vjp(op, x, w)
    route.generation += 1
    route.kept.clear()
    same(pull(y), jax.vjp(own, x, w)[1](y))
    assert op.recomputed == 1


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
