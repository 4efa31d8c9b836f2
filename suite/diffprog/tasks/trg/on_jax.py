"""The tensor renormalisation group in JAX: static bond dimensions, a scan over equal steps, a reverse rule for the SVD.

Shapes as in ``reference``: tensors are (n, D, D, D, D) with legs up, left, down, right.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffprog.spec import Functions
from diffprog.tasks.trg import lattice, polar, split_jax
from diffprog.tasks.trg.lattice import Step
from diffprog.tasks.trg.problem import ETA, TrgConfig

Data = dict[str, Array]
Factors = tuple[Array, Array, Array]
Split = Callable[[Array, int], Factors]
Contract = Callable[[str, Array, Array], Array]
SWITCHES = {"cpu": {"svd": "LAPACK gesdd"}, "cuda": {"svd": polar.NAME}}


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def split(matrices: Array, keep: int) -> Factors:
    """M (n, m, m) to A = U√S and B = V√S of the k largest singular values, (n, m, k) each, and those values (n, k).

    The reverse rule keeps all of U, s and V: what is dropped mixes into what is kept. ``network.split_vjp`` derives
    it. It holds for losses that do not change under A → AO, B → BO with O orthogonal, as on the two ends of an inner
    leg. The singular values come for inspection: their cotangents are ignored. For first derivatives by reverse mode,
    of which it is the fastest; ``split_jax.split`` has all others.
    """
    return split_forward(matrices, keep)[0]


@jax.custom_jvp
def once(factors: Factors) -> Factors:
    """What the reverse rule keeps: not to be differentiated again, for it omits what a first derivative cannot see."""
    return factors


@once.defjvp
def refuse(*_: object) -> None:
    raise NotImplementedError("this rule is for first derivatives: differentiate Functions.loss, as the engines do")


def split_forward(matrices: Array, keep: int) -> tuple[Factors, Factors]:
    u, s, vt = split_jax.svd(matrices)
    kept = s[:, :keep]
    root = jnp.sqrt(kept)[:, None]
    return (u[..., :keep] * root, vt[:, :keep].mT * root, kept), once((u, s, vt))


def split_backward(keep: int, saved: Factors, cotangents: Factors) -> tuple[Array]:
    (u, s, vt), (a_bar, b_bar, _), k = saved, cotangents, keep
    kept = s[:, None, :k]
    root = jnp.sqrt(kept)
    x, y = u.mT @ a_bar, vt @ b_bar
    together = (x[:, :k] + y[:, :k]) / (2 * (root + root.mT))
    apart = (x[:, :k] - y[:, :k]) * root / (2 * (kept + kept.mT))
    inner = together + together.mT + apart - apart.mT

    dropped = s[:, k:, None]
    d = kept - dropped
    f, g = d / (d * d + ETA), 1 / (kept + dropped)
    x, y = x[:, k:] * root, y[:, k:] * root
    below, right = ((f + g) * x + (f - g) * y) / 2, ((f - g) * x + (f + g) * y) / 2
    uk, vtk = u[..., :k], vt[:, :k]
    return ((uk @ inner + u[..., k:] @ below) @ vtk + uk @ (right.mT @ vt[:, k:]),)


split.defvjp(split_forward, split_backward)


def initial(couplings: Array) -> Array:
    """The spins' tensors (n, 2, 2, 2, 2) from the couplings (n, 4) of their bonds up, left, down, right, all > 0."""
    q = jnp.sqrt(2 * jnp.stack([jnp.cosh(couplings), jnp.sinh(couplings)], axis=-1))
    even = np.indices((2, 2, 2, 2)).sum(axis=0) % 2 == 0
    return jnp.where(even, jnp.einsum("ni,nj,nk,nl->nijkl", *jnp.unstack(q, axis=1)) / 2, 0)


def coarsen(tensors: Array, table: Array, step: Step, split: Split, contract: Contract) -> tuple[Array, Array, Array]:
    """The new tensors (half, χ, χ, χ, χ), the mean of the logarithms of the old ones' scales, and χ singular values."""
    half, dim = step.half, step.dim
    scale = jax.lax.stop_gradient(jnp.abs(tensors).max(axis=(1, 2, 3, 4), keepdims=True))  # ln Z does not depend on it
    tensors = tensors / scale
    matrices = jnp.concatenate([tensors[:half], tensors[-half:].transpose(0, 2, 3, 1, 4)])
    left, right, s = split(matrices.reshape(2 * half, dim**2, dim**2), step.keep)
    shape = (2 * half, dim, dim, step.keep)
    left, right = left.reshape(shape), right.reshape(shape)
    top_left, top_right, bottom_left, bottom_right = table
    pair = contract("nxwu,nyxl->nulwy", left[half:][top_right], right[:half][top_left])
    other = contract("nyzd,nwzr->nwydr", right[half:][bottom_left], left[:half][bottom_right])
    return contract("nulwy,nwydr->nuldr", pair, other), jnp.log(scale).mean(), s[0]


def build(config: TrgConfig, method: str) -> Functions:
    plan = lattice.steps(config.side, config.chi, config.iterations)

    def evaluate(
        theta: Array, data: Data, split: Split = split, contract: Contract = jnp.einsum, *, rolled: bool = True
    ) -> tuple[Array, Array]:
        """Ln Z per site, and the last singular values (χ,)."""
        tensors = initial(theta[data["bonds"]])
        weights, done = data["weights"], 0
        value, spectrum = jnp.zeros((), theta.dtype), jnp.ones(1, theta.dtype)
        for step, repeated in lattice.batches(plan):
            table = data["plaquettes"][:, step.columns]

            def advance(
                tensors: Array, _: None = None, *, step: Step = step, table: Array = table
            ) -> tuple[Array, tuple[Array, Array]]:
                tensors, logarithm, spectrum = coarsen(tensors, table, step, split, contract)
                return tensors, (logarithm, spectrum)

            if repeated == 1 or not rolled:
                body = jax.jit(advance) if repeated > 1 else advance  # traced but once
                for index in range(done, done + repeated):
                    tensors, (logarithm, spectrum) = body(tensors)
                    value += weights[index] * logarithm
            else:  # at a fixed bond dimension the shapes no longer change: one compiled body for all these steps
                tensors, (logarithms, spectra) = jax.lax.scan(advance, tensors, length=repeated)
                value += weights[done : done + repeated] @ logarithms
                spectrum = spectra[-1]
            done += repeated
        return value + weights[-1] * jnp.log(jnp.einsum("nxyxy->", tensors)), spectrum

    def value(theta: Array, data: Data) -> Array:
        return evaluate(theta, data)[0]

    def loss(theta: Array, data: Data) -> Array:
        # Linearising a scan, JAX 0.10 forgets the custom rules within, and second derivatives would be others'.
        return evaluate(theta, data, split_jax.split, rolled=False)[0]

    def outputs(theta: Array, data: Data) -> Data:
        (loss, spectrum), slope = jax.value_and_grad(evaluate, has_aux=True)(theta, data)
        return {
            "free_energy": -loss,
            "energy": -slope.sum(),
            "correlations": slope * config.sites_per_bond,
            "spectrum": spectrum / spectrum[0],
        }

    def work(theta: Array, data: Data) -> dict[str, int]:
        tally = lattice.Tally()
        with jax.disable_jit():  # the scan's body then really runs once a step
            evaluate(theta, data, tally.splitting(split), tally.contracting(jnp.einsum))
        return tally.work(theta.size)

    return Functions(value, jax.value_and_grad(value), outputs, work, "jit", loss, switches=SWITCHES)
