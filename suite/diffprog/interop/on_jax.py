"""A Julia function as a differentiable JAX operation: four primitives, each of them one call to Julia on the host.

y = f(x), ẏ = J ẋ, x̄ = Jᵀȳ and S = d/dε J(x + εẋ)ᵀȳ. The JVP of f is J ẋ, whose transpose is Jᵀȳ, whose JVP is S, which
is its own transpose: so forward and reverse mode, one over the other, and ``vmap`` and ``jit`` of all, follow from
JAX's own rules. JAX pairs complex cotangents without conjugation, Julia with it: they are conjugated on either way.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import jet
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from diffprog.interop.errors import BridgeError
from diffprog.interop.route import Kept, Loaded
from diffprog.interop.wire import CODES
from diffprog.spec import Array


class JaxOp:
    """Arrays in, an array or a tuple of arrays out; made by `diffprog.interop.jax_op`.

    Works under ``jit``; ``grad``, ``vjp``, ``jvp`` and these over each other, as far as the Julia function has the
    rules; and ``vmap``, which calls the function once for each sample within one callback. Inputs of an integer dtype
    are constants.

    Attributes:
        recomputed: how many pullbacks were computed again: that of the forward pass was used, or freed, already.
    """

    def __init__(self, loaded: Loaded, result: Any, keep: int) -> None:
        self.loaded, self._result, self._keep = loaded, result, keep
        self._known: dict[Any, tuple[Any, ...]] = {}
        self._kept: OrderedDict[int, Kept] = OrderedDict()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.recomputed = 0

    def __call__(self, *inputs: Any) -> Any:
        """f(x...).

        Raises:
            TypeError: for an argument that is no array, or whose dtype cannot cross.
            BridgeError: if the bridge cannot do it. This and JuliaError may come as JAX's own error, with their text.
        """
        x = _varying_alike([_known(jnp.asarray(one)) for one in inputs])
        outputs = _call.bind(*x, op=self, batch=0, keep=False)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def __getstate__(self) -> tuple[Loaded, Any, int]:
        """Copied or pickled without the pullbacks that wait: they are the process's own."""
        return self.loaded, self._result, self._keep

    def __setstate__(self, state: tuple[Loaded, Any, int]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def results(self, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """Shapes and dtypes of f's results for inputs of these shapes and dtypes."""
        shapes = tuple(jax.ShapeDtypeStruct(one.shape, one.dtype) for one in inputs)
        key = tuple((one.shape, one.dtype) for one in shapes)
        if key not in self._known:
            found = self._result
            if found is None:
                found = tuple(
                    jax.ShapeDtypeStruct(y.shape, jax.dtypes.canonicalize_dtype(y.dtype))
                    for y in self.loaded.primal([np.ones(one.shape, one.dtype) for one in shapes])
                )
            elif callable(found):
                found = found(*shapes)
            self._known[key] = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        return self._known[key]

    # On the host

    def call(self, x: list[Array]) -> list[Array]:
        return self.loaded.primal(x)

    def forward(self, x: list[Array]) -> list[Array]:
        """Of f(x), and the number under which its pullback is kept."""
        if self.loaded.route.name == "in_process":  # XLA's memory is there for the callback alone
            x = [np.array(one) for one in x]
            self.loaded.route.copies += len(x)
        y, kept = self.loaded.forward(x)
        with self._lock:
            number = next(self._numbers)
            self._kept[number] = kept
            if len(self._kept) > self._keep:
                self._kept.popitem(last=False)
        return [*y, np.array(number, dtype=np.int32)]

    def pullback(self, number: int, x: list[Array], bars: list[Array]) -> list[Array]:
        with self._lock:
            kept = self._kept.get(number)
        if kept is None or kept.gone:
            self.recomputed += 1
            kept = self.loaded.forward(x)[1]
        return _of_floats(x, kept([np.conj(bar) for bar in bars]))

    def second(self, x: list[Array], dots: list[Array | None], bars: list[Array]) -> list[Array]:
        return _of_floats(x, self.loaded.second(x, dots, [np.conj(bar) for bar in bars]))

    def used(self, numbers: Array) -> None:
        """One backward pass is all that most pullbacks see: they are freed after it."""
        with self._lock:
            for number in np.unique(numbers):
                self._kept.pop(int(number), None)


def _of_floats(x: Sequence[Array], bars: Sequence[Array | None]) -> list[Array]:
    """Cotangents of the floating inputs, as JAX pairs them; zeros where nothing depends on one."""
    return [
        np.zeros_like(one) if bar is None else np.conj(bar) for one, bar in zip(x, bars, strict=True) if _is_float(one)
    ]


def _known(one: Any) -> Any:
    """Raises TypeError for an array whose dtype cannot cross: here, not out of compiled code."""
    if one.dtype not in CODES:
        known = ", ".join(map(str, CODES))
        raise TypeError(f"an array of dtype {one.dtype} cannot cross to Julia; these can: {known}")
    return one


def _varying_alike(x: list[Any]) -> list[Any]:
    """Within `jax.shard_map`: all varying over the mesh's axes that any varies over, so that cotangents are summed."""
    axes = [_varying(jax.typeof(one)) for one in x]
    total: frozenset[Any] = frozenset().union(*axes)
    if not total:
        return x
    cast = jax.lax.pvary if not hasattr(jax.lax, "pcast") else partial(jax.lax.pcast, to="varying")
    return [cast(one, tuple(total - own)) if total - own else one for one, own in zip(x, axes, strict=True)]


def _varying(aval: Any) -> frozenset[Any]:
    """The axes of the mesh that a value varies over, within `jax.shard_map`; JAX has had two names for it."""
    mat = getattr(aval, "mat", None)
    return frozenset(getattr(aval, "vma", ()) if mat is None else mat.varying)


def _aval(one: Any, arguments: Sequence[Any]) -> Any:
    """What a result is, that varies over the axes that any argument does."""
    widest = max(arguments, key=lambda argument: len(_varying(argument)), default=None)
    if widest is None or not _varying(widest):
        return jax.core.ShapedArray(one.shape, one.dtype)
    varying = {"manual_axis_type": widest.mat} if hasattr(widest, "mat") else {"vma": _varying(widest)}
    whole = jax.sharding.NamedSharding(widest.sharding.mesh, jax.sharding.PartitionSpec(*[None] * len(one.shape)))
    return jax.core.ShapedArray(one.shape, one.dtype, sharding=whole, **varying)


def _array(one: Any) -> Any:
    """What JAX hands to a rule, as an array: among it are numbers of Python's."""
    return one if hasattr(one, "aval") or hasattr(one, "shape") else jnp.asarray(one)


def _full(one: Any) -> Any:
    """A tangent or cotangent, with zeros where it is a symbolic one."""
    return _array(ad.instantiate_zeros(one))


def _rule(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule that gets arrays alone."""
    return lambda arguments, others, **parameters: rule([_array(one) for one in arguments], others, **parameters)


def _is_float(one: Any) -> bool:
    return bool(jnp.issubdtype(one.dtype, jnp.inexact))


def _floats(x: Sequence[Any]) -> list[Any]:
    return [one for one in x if _is_float(one)]


def _spread(x: Sequence[Any], dots: Sequence[Any]) -> list[Any]:
    """The tangents of the floating inputs, and None for the others."""
    waiting = iter(dots)
    return [next(waiting) if _is_float(one) else None for one in x]


def _primitive(
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

    def shapes(op: JaxOp, batch: int, arguments: Sequence[Any], parameters: dict[str, Any]) -> list[Any]:
        outer = np.broadcast_shapes(*(one.shape[:batch] for one in arguments))
        inner = [jax.ShapeDtypeStruct(one.shape[batch:], one.dtype) for one in arguments]
        return [jax.ShapeDtypeStruct(outer + tuple(one.shape), one.dtype) for one in results(op, inner, **parameters)]

    def implementation(*arguments: Any, op: JaxOp, batch: int, **parameters: Any) -> Any:
        arguments = tuple(_array(one) for one in arguments)
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

    def abstract(*arguments: Any, op: JaxOp, batch: int, **parameters: Any) -> list[Any]:
        return [_aval(one, arguments) for one in shapes(op, batch, arguments, parameters)]

    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, mlir.lower_fun(implementation, multiple_results=True))

    def vmapped(arguments: Sequence[Any], dims: Sequence[Any], *, batch: int, **parameters: Any) -> Any:
        arguments = [_array(one) for one in arguments]
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


def _no_tangent(one: Any) -> Any:
    return ad.Zero(jax.typeof(one).to_tangent_aval())


# f. With `keep`, the number of the pullback comes last.

_call = _primitive(
    "julia_call",
    lambda op, x, keep: op.forward(x) if keep else op.call(x),
    lambda op, x, keep: [*op.results(x), *([jax.ShapeDtypeStruct((), np.int32)] if keep else [])],
)


def _call_jvp(x: Sequence[Any], dots: Sequence[Any], *, op: JaxOp, batch: int, keep: bool) -> Any:
    *y, number = _call.bind(*x, op=op, batch=batch, keep=True)
    tangents = [_full(dot) for dot, one in zip(dots, x, strict=True) if _is_float(one)]
    ends = iter(_pushforward.bind(number, *x, *tangents, op=op, batch=batch, n=len(x)))
    outputs = [*y, number] if keep else y
    return outputs, [next(ends) if _is_float(one) and one is not number else _no_tangent(one) for one in outputs]


ad.primitive_jvps[_call] = _rule(_call_jvp)

# J ẋ of (number, x..., ẋ...), ẋ of the floating inputs alone; linear in ẋ.

_pushforward = _primitive(
    "julia_pushforward",
    lambda op, a, n: [
        dot
        for dot, like in zip(
            op.loaded.pushforward(a[1 : n + 1], _spread(a[1 : n + 1], a[n + 1 :])),
            op.results(a[1 : n + 1]),
            strict=True,
        )
        if _is_float(like)
    ],
    lambda op, a, n: _floats(op.results(a[1 : n + 1])),
)


def _pushforward_jvp(arguments: Sequence[Any], tangents: Sequence[Any], *, op: JaxOp, batch: int, n: int) -> Any:
    number, x, dots = arguments[0], arguments[1 : n + 1], arguments[n + 1 :]
    of_x, of_dots = tangents[1 : n + 1], tangents[n + 1 :]
    y = _pushforward.bind(*arguments, op=op, batch=batch, n=n)
    total: list[Any] = [_no_tangent(one) for one in y]
    if any(type(dot) is not ad.Zero for dot in of_dots):
        full = [_full(dot) for dot in of_dots]
        total = _pushforward.bind(number, *x, *full, op=op, batch=batch, n=n)
    if any(type(dot) is not ad.Zero for dot, one in zip(of_x, x, strict=True) if _is_float(one)):
        full = [_full(dot) for dot, one in zip(of_x, x, strict=True) if _is_float(one)]
        more = _curvature.bind(*x, *dots, *full, op=op, batch=batch, n=n)
        total = [ad.add_tangents(one, other) for one, other in zip(total, more, strict=True)]
    return y, total


def _pushforward_transpose(bars: Sequence[Any], *arguments: Any, op: JaxOp, batch: int, n: int) -> Any:
    number, x = arguments[0], arguments[1 : n + 1]
    full = [_full(bar) for bar in bars]
    found = _pullback.bind(number, *x, *full, op=op, batch=batch, n=n)
    return [None] * (n + 1) + [
        bar if ad.is_undefined_primal(dot) else None for bar, dot in zip(found, arguments[n + 1 :], strict=True)
    ]


ad.primitive_jvps[_pushforward] = _rule(_pushforward_jvp)
ad.primitive_transposes[_pushforward] = _pushforward_transpose

# Jᵀȳ of (number, x..., ȳ...), ȳ of the floating results alone; linear in ȳ.


def _all_bars(op: JaxOp, x: Sequence[Any], bars: Sequence[Array]) -> list[Array]:
    """Cotangents of all results; zeros for the integers among them."""
    waiting = iter(bars)
    return [next(waiting) if _is_float(one) else np.zeros(one.shape, one.dtype) for one in op.results(x)]


_pullback = _primitive(
    "julia_pullback",
    lambda op, a, n: op.pullback(int(a[0]), a[1 : n + 1], _all_bars(op, a[1 : n + 1], a[n + 1 :])),
    lambda op, a, n: _floats(a[1 : n + 1]),
)


def _pullback_jvp(arguments: Sequence[Any], tangents: Sequence[Any], *, op: JaxOp, batch: int, n: int) -> Any:
    number, x, bars = arguments[0], arguments[1 : n + 1], arguments[n + 1 :]
    found = _pullback.bind(*arguments, op=op, batch=batch, n=n)
    total: list[Any] = [_no_tangent(one) for one in found]
    of_x = [dot for dot, one in zip(tangents[1 : n + 1], x, strict=True) if _is_float(one)]
    of_bars = tangents[n + 1 :]
    if any(type(dot) is not ad.Zero for dot in of_bars):
        full = [_full(dot) for dot in of_bars]
        total = _pullback.bind(number, *x, *full, op=op, batch=batch, n=n)
    if any(type(dot) is not ad.Zero for dot in of_x):
        full = [_full(dot) for dot in of_x]
        more = _second.bind(*x, *full, *bars, op=op, batch=batch, n=n)
        total = [ad.add_tangents(one, other) for one, other in zip(total, more, strict=True)]
    return found, total


def _pullback_transpose(dots: Sequence[Any], *arguments: Any, op: JaxOp, batch: int, n: int) -> Any:
    number, x = arguments[0], arguments[1 : n + 1]
    full = [_full(dot) for dot in dots]
    found = _pushforward.bind(number, *x, *full, op=op, batch=batch, n=n)
    return [None] * (n + 1) + [
        dot if ad.is_undefined_primal(bar) else None for dot, bar in zip(found, arguments[n + 1 :], strict=True)
    ]


ad.primitive_jvps[_pullback] = _rule(_pullback_jvp)
ad.primitive_transposes[_pullback] = _pullback_transpose

# S of (x..., ẋ..., ȳ...): linear in ẋ and in ȳ, and its own transpose in ẋ.


def _count(x: Sequence[Any]) -> int:
    return len(_floats(x))


_second = _primitive(
    "julia_second",
    lambda op, a, n: op.second(
        a[:n],
        _spread(a[:n], a[n : n + _count(a[:n])]),
        _all_bars(op, a[:n], a[n + _count(a[:n]) :]),
    ),
    lambda op, a, n: _floats(a[:n]),
)


def _second_transpose(bars: Sequence[Any], *arguments: Any, op: JaxOp, batch: int, n: int) -> Any:
    x = arguments[:n]
    k = _count(x)
    dots, cotangents = arguments[n : n + k], arguments[n + k :]
    full = [_full(bar) for bar in bars]
    if any(ad.is_undefined_primal(dot) for dot in dots):
        found = _second.bind(*x, *full, *cotangents, op=op, batch=batch, n=n)
        of_dots = [bar if ad.is_undefined_primal(dot) else None for bar, dot in zip(found, dots, strict=True)]
        return [*[None] * n, *of_dots, *[None] * len(cotangents)]
    found = _curvature.bind(*x, *dots, *full, op=op, batch=batch, n=n)
    return [*[None] * (n + k), *found]


def _no_third(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("a Julia operation has no third derivatives")


ad.primitive_jvps[_second] = _no_third
ad.primitive_transposes[_second] = _second_transpose

# d/dε J(x + εu)ẋ of (x..., ẋ..., u...): Julia has no rule for it, but for its transpose in u, which is S.


def _no_curvature(op: JaxOp, a: Sequence[Any], n: int) -> list[Array]:
    raise BridgeError("a Julia operation has no forward mode over forward mode: take forward over reverse")


_curvature = _primitive("julia_curvature", _no_curvature, lambda op, a, n: _floats(op.results(a[:n])))


def _curvature_transpose(bars: Sequence[Any], *arguments: Any, op: JaxOp, batch: int, n: int) -> Any:
    x = arguments[:n]
    k = _count(x)
    full = [_full(bar) for bar in bars]
    found = _second.bind(*x, *arguments[n : n + k], *full, op=op, batch=batch, n=n)
    ends = [bar if ad.is_undefined_primal(dot) else None for bar, dot in zip(found, arguments[n + k :], strict=True)]
    return [*[None] * (n + k), *ends]


ad.primitive_jvps[_curvature] = _no_third
ad.primitive_transposes[_curvature] = _curvature_transpose
