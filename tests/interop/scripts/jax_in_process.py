"""Julia in a thread of its own, called back by XLA's threads; run by test_in_process.py. Ends with the word "done"."""

from __future__ import annotations

import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffprog.interop import JuliaFunction, jax_op, route, task_function

jax.config.update("jax_enable_x64", True)
op = jax_op("(x, w) -> (sin.(x) .* w, sum(x .* w))", route="in_process")
by = route("in_process", thread="own")


def own(x: Any, w: Any) -> Any:
    return jnp.sin(x) * w, jnp.sum(x * w)


def loss(f: Any) -> Any:
    def total(x: Any, w: Any) -> Any:
        y, s = f(x, w)
        return jnp.sum(y**2) * s

    return total


x, w = jnp.array([0.1, 0.5, 0.9]), jnp.array([1.0, 2.0, -3.0])
gradient = jax.jit(jax.grad(loss(op), (0, 1)))
for _ in range(20):
    found = gradient(x, w)
jax.tree.map(np.testing.assert_allclose, found, jax.grad(loss(own), (0, 1))(x, w))
assert op.recomputed == 0
assert by.held() <= 1, by.held()
np.testing.assert_allclose(jax.jit(jax.hessian(loss(op)))(x, w), jax.hessian(loss(own))(x, w), rtol=1e-12)
np.testing.assert_allclose(
    jax.jit(jax.vmap(jax.grad(loss(op)), (0, None)))(jnp.stack([x, -x]), w),
    jax.vmap(jax.grad(loss(own)), (0, None))(jnp.stack([x, -x]), w),
    rtol=1e-12,
)
# Garbage is collected while threads of XLA's and of Python's wait and call.
heavy = jax_op("x -> sum(sum(x * x') for _ in 1:20) .* x", route="in_process")
run = jax.jit(jax.grad(lambda x: heavy(x).sum()))
results: list[Any] = []
threads = [threading.Thread(target=lambda: results.append(np.asarray(run(jnp.ones(200))))) for _ in range(3)]
for thread in threads:
    thread.start()
by.load(JuliaFunction("x -> (GC.gc(); x .+ 1)")).primal([np.ones(3)])
for thread in threads:
    thread.join()
assert len(results) == 3 and all(np.array_equal(one, results[0]) for one in results)

quadratic = jax_op(task_function("flow", "quadratic"), route="in_process")
theta = jnp.array([0.1, 0.2, 0.3, 0.4])
v = jnp.array([1.0, 0.0, -1.0, 0.5])
slope = jax.jit(jax.grad(quadratic))
h = 1e-5
np.testing.assert_allclose(
    jax.jvp(jax.grad(quadratic), (theta,), (v,))[1], (slope(theta + h * v) - slope(theta - h * v)) / (2 * h), rtol=1e-7
)
try:
    jax.block_until_ready(jax.jit(jax_op("x -> sqrt.(x)", result=lambda x: x, route="in_process"))(-x))
except Exception as error:
    assert "DomainError" in str(error), error
else:
    raise AssertionError("the exception was lost")
np.testing.assert_allclose(gradient(x, w)[0], found[0])
print("done")
