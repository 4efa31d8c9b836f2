"""How a call to Julia becomes a primitive of JAX: its callback, its shapes, ``vmap``; and what its rules are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import jet
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from diffprog.interop.errors import BridgeError
from diffprog.interop.jax_host import Host, is_float
from diffprog.spec import Array


def varying(aval: Any) -> frozenset[Any]:
    """The axes of the mesh that a value varies over, within `jax.shard_map`; JAX has had two names for it."""
    mat = getattr(aval, "mat", None)
    return frozenset(getattr(aval, "vma", ()) if mat is None else mat.varying)


def _aval(one: Any, arguments: Sequence[Any]) -> Any:
    """What a result is, that varies over the axes that any argument does."""
    widest = max(arguments, key=lambda argument: len(varying(argument)), default=None)
    if widest is None or not varying(widest):
        return jax.core.ShapedArray(one.shape, one.dtype)
    over = {"manual_axis_type": widest.mat} if hasattr(widest, "mat") else {"vma": varying(widest)}
    whole = jax.sharding.NamedSharding(widest.sharding.mesh, jax.sharding.PartitionSpec(*[None] * len(one.shape)))
    return jax.core.ShapedArray(one.shape, one.dtype, sharding=whole, **over)


def as_array(one: Any) -> Any:
    """What JAX hands to a rule, as an array: among it are numbers of Python's."""
    return one if hasattr(one, "aval") or hasattr(one, "shape") else jnp.asarray(one)


def full_of(one: Any) -> Any:
    """A tangent or cotangent, with zeros where it is a symbolic one."""
    return as_array(ad.instantiate_zeros(one))


def of_arrays(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule that gets arrays alone."""
    return lambda arguments, others, **parameters: rule([as_array(one) for one in arguments], others, **parameters)


def floats(x: Sequence[Any]) -> list[Any]:
    return [one for one in x if is_float(one)]


def spread(x: Sequence[Any], dots: Sequence[Any]) -> list[Any]:
    """The tangents of the floating inputs, and None for the others."""
    waiting = iter(dots)
    return [next(waiting) if is_float(one) else None for one in x]


def make(
    name: str,
    host: Callable[..., list[Array]],
    results: Callable[..., Sequence[Any]],
) -> Primitive:
    """A primitive that is one callback.

    Every argument has ``batch`` leading dimensions, of extent 1 where it is the same for all samples.
    ``host(op, arguments, **parameters)`` computes one sample, ``results(op, arguments, **parameters)`` says what it
    returns.
    """
    primitive = Primitive(name)
    primitive.multiple_results = True

    def shapes(op: Host, batch: int, arguments: Sequence[Any], parameters: dict[str, Any]) -> list[Any]:
        outer = np.broadcast_shapes(*(one.shape[:batch] for one in arguments))
        inner = [jax.ShapeDtypeStruct(one.shape[batch:], one.dtype) for one in arguments]
        return [jax.ShapeDtypeStruct(outer + tuple(one.shape), one.dtype) for one in results(op, inner, **parameters)]

    def implementation(*arguments: Any, op: Host, batch: int, **parameters: Any) -> Any:
        arguments = tuple(as_array(one) for one in arguments)
        expected = shapes(op, batch, arguments, parameters)

        def run(*given: Any) -> tuple[Array, ...]:
            arrays = [np.asarray(one) for one in given]
            outer = np.broadcast_shapes(*(one.shape[:batch] for one in arrays))
            outputs = [np.empty(one.shape, one.dtype) for one in expected]
            for index in np.ndindex(outer):
                sample = [one[_within(index, one.shape)] for one in arrays]
                found = host(op, sample, **parameters)
                for output, one, wanted in zip(outputs, found, expected, strict=True):
                    if one.shape != wanted.shape[batch:]:
                        raise BridgeError(f"the Julia function returned shape {one.shape}, not {wanted.shape[batch:]}")
                    output[index] = one
            if name in ("julia_pullback", "julia_pushforward"):
                op.used(arrays[0])
            return tuple(outputs)

        return jax.pure_callback(run, tuple(expected), *arguments)

    primitive.def_impl(implementation)

    def abstract(*arguments: Any, op: Host, batch: int, **parameters: Any) -> list[Any]:
        return [_aval(one, arguments) for one in shapes(op, batch, arguments, parameters)]

    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, mlir.lower_fun(implementation, multiple_results=True))

    def vmapped(arguments: Sequence[Any], dims: Sequence[Any], *, batch: int, **parameters: Any) -> Any:
        arguments = [as_array(one) for one in arguments]
        extent = next(one.shape[dim] for one, dim in zip(arguments, dims, strict=True) if dim is not None)
        moved = []
        for place, (one, dim) in enumerate(zip(arguments, dims, strict=True)):
            if dim is not None:
                moved.append(jnp.moveaxis(one, dim, 0))
            elif place == 0 and one.dtype == np.int32 and parameters.get("n") is not None:
                moved.append(one[None])  # the number of a pullback that serves all samples
            else:
                moved.append(jnp.broadcast_to(one, (extent, *one.shape)))
        outputs = primitive.bind(*moved, batch=batch + 1, **parameters)
        return outputs, [0] * len(outputs)

    batching.primitive_batchers[primitive] = vmapped
    jet.jet_rules[primitive] = _no_series
    return primitive


def _no_series(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("a Julia operation has no Taylor series (jax.experimental.jet): take jvp, or hessian")


def _within(index: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(0 if extent == 1 else i for i, extent in zip(index, shape, strict=False))


def no_tangent(one: Any) -> Any:
    return ad.Zero(jax.typeof(one).to_tangent_aval())
