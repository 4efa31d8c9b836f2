"""A Julia function as a differentiable JAX operation: primitives, each of them one call to Julia on the host."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from diffprog.interop.jax_host import Host
from diffprog.interop.jax_primitive import varying
from diffprog.interop.jax_rules import call
from diffprog.interop.wire import CODES


class JaxOp(Host):
    """Arrays in, an array or a tuple of arrays out; made by `diffprog.interop.jax_op`.

    Works under ``jit``; ``grad``, ``vjp``, ``jvp`` and these over each other, as far as the Julia function has the
    rules; and ``vmap``, which calls the function once for each sample within one callback. Inputs of an integer dtype
    are constants.

    Attributes:
        recomputed: how many pullbacks were computed again: that of the forward pass was used, or freed, already.
    """

    def __call__(self, *inputs: Any) -> Any:
        """f(x...).

        Raises:
            TypeError: for an argument that is no array, or whose dtype cannot cross.
            BridgeError: if the bridge cannot do it. This and JuliaError may come as JAX's own error, with their text.
        """
        x = _varying_alike([_known(jnp.asarray(one)) for one in inputs])
        outputs = call.bind(*x, op=self, batch=0, keep=False)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _known(one: Any) -> Any:
    """Raises TypeError for an array whose dtype cannot cross: here, not out of compiled code."""
    if one.dtype not in CODES:
        known = ", ".join(map(str, CODES))
        raise TypeError(f"an array of dtype {one.dtype} cannot cross to Julia; these can: {known}")
    return one


def _varying_alike(x: list[Any]) -> list[Any]:
    """Within `jax.shard_map`: all varying over the mesh's axes that any varies over, so that cotangents are summed."""
    axes = [varying(jax.typeof(one)) for one in x]
    total: frozenset[Any] = frozenset().union(*axes)
    if not total:
        return x
    cast = jax.lax.pvary if not hasattr(jax.lax, "pcast") else partial(jax.lax.pcast, to="varying")
    return [cast(one, tuple(total - own)) if total - own else one for one, own in zip(x, axes, strict=True)]
