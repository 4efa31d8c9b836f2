"""The primitives of a Julia operation in JAX, and what JAX is told of their derivatives.

y = f(x), ẏ = J ẋ, x̄ = Jᵀȳ and S = d/dε J(x + εẋ)ᵀȳ. The JVP of f is J ẋ, whose transpose is Jᵀȳ, whose JVP is S, which
is its own transpose: so forward and reverse mode, one over the other, and ``vmap`` and ``jit`` of all, follow from
JAX's own rules. JAX pairs complex cotangents without conjugation, Julia with it: they are conjugated on either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.interpreters import ad

from diffprog.interop.errors import BridgeError
from diffprog.interop.jax_host import Host, is_float
from diffprog.interop.jax_primitive import floats, full_of, make, no_tangent, of_arrays, spread
from diffprog.spec import Array

# f. With `keep`, the number of the pullback comes last.

call = make(
    "julia_call",
    lambda op, x, keep: op.forward(x) if keep else op.call(x),
    lambda op, x, keep: [*op.results(x), *([jax.ShapeDtypeStruct((), np.int32)] if keep else [])],
)


def _call_jvp(x: Sequence[Any], dots: Sequence[Any], *, op: Host, batch: int, keep: bool) -> Any:
    *y, number = call.bind(*x, op=op, batch=batch, keep=True)
    tangents = [full_of(dot) for dot, one in zip(dots, x, strict=True) if is_float(one)]
    ends = iter(pushforward.bind(number, *x, *tangents, op=op, batch=batch, n=len(x)))
    outputs = [*y, number] if keep else y
    return outputs, [next(ends) if is_float(one) and one is not number else no_tangent(one) for one in outputs]


ad.primitive_jvps[call] = of_arrays(_call_jvp)

# J ẋ of (number, x..., ẋ...), ẋ of the floating inputs alone; linear in ẋ.

pushforward = make(
    "julia_pushforward",
    lambda op, a, n: [
        dot
        for dot, like in zip(
            op.loaded.pushforward(a[1 : n + 1], spread(a[1 : n + 1], a[n + 1 :])),
            op.results(a[1 : n + 1]),
            strict=True,
        )
        if is_float(like)
    ],
    lambda op, a, n: floats(op.results(a[1 : n + 1])),
)


def _pushforward_jvp(arguments: Sequence[Any], tangents: Sequence[Any], *, op: Host, batch: int, n: int) -> Any:
    number, x, dots = arguments[0], arguments[1 : n + 1], arguments[n + 1 :]
    of_x, of_dots = tangents[1 : n + 1], tangents[n + 1 :]
    y = pushforward.bind(*arguments, op=op, batch=batch, n=n)
    total: list[Any] = [no_tangent(one) for one in y]
    if any(type(dot) is not ad.Zero for dot in of_dots):
        full = [full_of(dot) for dot in of_dots]
        total = pushforward.bind(number, *x, *full, op=op, batch=batch, n=n)
    if any(type(dot) is not ad.Zero for dot, one in zip(of_x, x, strict=True) if is_float(one)):
        full = [full_of(dot) for dot, one in zip(of_x, x, strict=True) if is_float(one)]
        more = curvature.bind(*x, *dots, *full, op=op, batch=batch, n=n)
        total = [ad.add_tangents(one, other) for one, other in zip(total, more, strict=True)]
    return y, total


def _pushforward_transpose(bars: Sequence[Any], *arguments: Any, op: Host, batch: int, n: int) -> Any:
    number, x = arguments[0], arguments[1 : n + 1]
    full = [full_of(bar) for bar in bars]
    found = pullback.bind(number, *x, *full, op=op, batch=batch, n=n)
    return [None] * (n + 1) + [
        bar if ad.is_undefined_primal(dot) else None for bar, dot in zip(found, arguments[n + 1 :], strict=True)
    ]


ad.primitive_jvps[pushforward] = of_arrays(_pushforward_jvp)
ad.primitive_transposes[pushforward] = _pushforward_transpose

# Jᵀȳ of (number, x..., ȳ...), ȳ of the floating results alone; linear in ȳ.


def _all_bars(op: Host, x: Sequence[Any], bars: Sequence[Array]) -> list[Array]:
    """Cotangents of all results; zeros for the integers among them."""
    waiting = iter(bars)
    return [next(waiting) if is_float(one) else np.zeros(one.shape, one.dtype) for one in op.results(x)]


pullback = make(
    "julia_pullback",
    lambda op, a, n: op.pullback(int(a[0]), a[1 : n + 1], _all_bars(op, a[1 : n + 1], a[n + 1 :])),
    lambda op, a, n: floats(a[1 : n + 1]),
)


def _pullback_jvp(arguments: Sequence[Any], tangents: Sequence[Any], *, op: Host, batch: int, n: int) -> Any:
    number, x, bars = arguments[0], arguments[1 : n + 1], arguments[n + 1 :]
    found = pullback.bind(*arguments, op=op, batch=batch, n=n)
    total: list[Any] = [no_tangent(one) for one in found]
    of_x = [dot for dot, one in zip(tangents[1 : n + 1], x, strict=True) if is_float(one)]
    of_bars = tangents[n + 1 :]
    if any(type(dot) is not ad.Zero for dot in of_bars):
        full = [full_of(dot) for dot in of_bars]
        total = pullback.bind(number, *x, *full, op=op, batch=batch, n=n)
    if any(type(dot) is not ad.Zero for dot in of_x):
        full = [full_of(dot) for dot in of_x]
        more = second.bind(*x, *full, *bars, op=op, batch=batch, n=n)
        total = [ad.add_tangents(one, other) for one, other in zip(total, more, strict=True)]
    return found, total


def _pullback_transpose(dots: Sequence[Any], *arguments: Any, op: Host, batch: int, n: int) -> Any:
    number, x = arguments[0], arguments[1 : n + 1]
    full = [full_of(dot) for dot in dots]
    found = pushforward.bind(number, *x, *full, op=op, batch=batch, n=n)
    return [None] * (n + 1) + [
        dot if ad.is_undefined_primal(bar) else None for dot, bar in zip(found, arguments[n + 1 :], strict=True)
    ]


ad.primitive_jvps[pullback] = of_arrays(_pullback_jvp)
ad.primitive_transposes[pullback] = _pullback_transpose

# S of (x..., ẋ..., ȳ...): linear in ẋ and in ȳ, and its own transpose in ẋ.


def _count(x: Sequence[Any]) -> int:
    return len(floats(x))


second = make(
    "julia_second",
    lambda op, a, n: op.second(
        a[:n],
        spread(a[:n], a[n : n + _count(a[:n])]),
        _all_bars(op, a[:n], a[n + _count(a[:n]) :]),
    ),
    lambda op, a, n: floats(a[:n]),
)


def _second_transpose(bars: Sequence[Any], *arguments: Any, op: Host, batch: int, n: int) -> Any:
    x = arguments[:n]
    k = _count(x)
    dots, cotangents = arguments[n : n + k], arguments[n + k :]
    full = [full_of(bar) for bar in bars]
    if any(ad.is_undefined_primal(dot) for dot in dots):
        found = second.bind(*x, *full, *cotangents, op=op, batch=batch, n=n)
        of_dots = [bar if ad.is_undefined_primal(dot) else None for bar, dot in zip(found, dots, strict=True)]
        return [*[None] * n, *of_dots, *[None] * len(cotangents)]
    found = curvature.bind(*x, *dots, *full, op=op, batch=batch, n=n)
    return [*[None] * (n + k), *found]


def _no_third(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("a Julia operation has no third derivatives")


ad.primitive_jvps[second] = _no_third
ad.primitive_transposes[second] = _second_transpose

# d/dε J(x + εu)ẋ of (x..., ẋ..., u...): Julia has no rule for it, but for its transpose in u, which is S.


def _no_curvature(op: Host, a: Sequence[Any], n: int) -> list[Array]:
    raise BridgeError("a Julia operation has no forward mode over forward mode: take forward over reverse")


curvature = make("julia_curvature", _no_curvature, lambda op, a, n: floats(op.results(a[:n])))


def _curvature_transpose(bars: Sequence[Any], *arguments: Any, op: Host, batch: int, n: int) -> Any:
    x = arguments[:n]
    k = _count(x)
    full = [full_of(bar) for bar in bars]
    found = second.bind(*x, *arguments[n : n + k], *full, op=op, batch=batch, n=n)
    ends = [bar if ad.is_undefined_primal(dot) else None for bar, dot in zip(found, arguments[n + k :], strict=True)]
    return [*[None] * (n + k), *ends]


ad.primitive_jvps[curvature] = _no_third
ad.primitive_transposes[curvature] = _curvature_transpose
