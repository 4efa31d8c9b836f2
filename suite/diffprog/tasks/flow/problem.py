"""The problems of the flow: variants, sizes, inputs, the work that they are.

Source: Zhang, E, Wang, "Monge-Ampère flow for generative modeling", arXiv:1809.10188, eqs. 3-7 and section 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffprog.errors import UsageError
from diffprog.spec import Arrays, Block, Layout
from diffprog.tasks.flow import data, ising

VARIATIONAL = ("ising", "ring", "correlated")
"""Variants that carry noise forwards to a target density; the others carry data backwards to noise."""


@dataclass(frozen=True)
class FlowConfig:
    """One problem: ``dim`` d, ``hidden`` units h (0 for the quadratic potential), RK4 ``steps`` N over ``time`` T."""

    variant: str
    size: str
    dim: int
    hidden: int
    steps: int
    time: float
    batch: int
    source: str
    """Where the batch comes from; see ``diffprog.tasks.flow.data``."""
    temperature: float = 0.0
    """Of the Ising model, in units of its coupling; 0 where there is none."""
    rtol: float = 1e-8
    """Of the adaptive solvers, relative and absolute, in float64."""

    @property
    def step(self) -> float:
        """The signed step: forwards in time for the variational variants, backwards for the others."""
        return (1 if self.variant in VARIATIONAL else -1) * self.time / self.steps


_DENSITY = {
    "tiny": FlowConfig("density", "tiny", 2, 8, 10, 1.0, 16, "two moons"),
    "small": FlowConfig("density", "small", 64, 256, 50, 5.0, 100, "digits"),
    "medium": FlowConfig("density", "medium", 64, 1024, 100, 10.0, 100, "digits"),
    "large": FlowConfig("density", "large", 784, 1024, 100, 10.0, 100, "images of 28x28"),
}
_QUADRATIC = {
    "tiny": FlowConfig("quadratic", "tiny", 2, 0, 10, 1.0, 16, "normal"),
    "small": FlowConfig("quadratic", "small", 16, 0, 50, 5.0, 100, "normal"),
    "medium": FlowConfig("quadratic", "medium", 64, 0, 100, 10.0, 100, "normal"),
    "large": FlowConfig("quadratic", "large", 256, 0, 100, 10.0, 1000, "normal"),
}
_ISING = {
    size: FlowConfig("ising", size, side**2, hidden, steps, time, batch, "normal", ising.CRITICAL)
    for size, side, hidden, steps, time, batch in (
        ("tiny", 4, 8, 10, 1.0, 16),
        ("small", 8, 128, 50, 5.0, 100),
        ("medium", 16, 512, 50, 5.0, 100),
        ("large", 32, 2048, 50, 5.0, 100),
    )
}
_PLANE = {
    variant: {
        size: FlowConfig(variant, size, 2, hidden, steps, time, batch, "normal")
        for size, hidden, steps, time, batch in (
            ("tiny", 8, 10, 1.0, 16),
            ("small", 32, 50, 5.0, 256),
            ("medium", 128, 50, 5.0, 1024),
            ("large", 256, 100, 10.0, 1024),
        )
    }
    for variant in ("ring", "correlated")
}
_SIZES = {"density": _DENSITY, "quadratic": _QUADRATIC, "ising": _ISING, **_PLANE}


def configure(variant: str, size: str) -> FlowConfig:
    try:
        return _SIZES[variant][size]
    except KeyError:
        raise UsageError(f"task flow has no variant {variant!r} of size {size!r}") from None


def layout(config: FlowConfig) -> Layout:
    d, h = config.dim, config.hidden
    if config.variant == "quadratic":
        return Layout((Block("A", (d, d)),))
    if config.variant in VARIATIONAL:
        return Layout((Block("W", (h, d)), Block("a", (h,))))
    return Layout((Block("W", (h, d)), Block("b", (h,)), Block("a", (h,))))


def draw(config: FlowConfig, seed: int) -> Arrays:
    """``params`` (P,), the batch ``data`` (B, d), and what goes with it.

    That is ``log_jacobian`` (B,), ln |dy/dx| of the preprocessing, for bits/dim; for the variational variants, whose
    batch is noise, it is ``inverse_coupling`` K'⁻¹ of shape (d, d) with `ising` and nothing else with the others.
    """
    rng = np.random.default_rng(seed)
    d, h = config.dim, config.hidden
    if config.variant == "quadratic":
        # Eigenvalues of S within about ±1/T, so that x₀ stays of order one whatever the size.
        params = rng.standard_normal(d * d) / (np.sqrt(2 * d) * config.time)
    else:
        weights = rng.uniform(-1, 1, layout(config).size - h) / np.sqrt(d)
        params = np.concatenate([weights, rng.uniform(-1, 1, h) / np.sqrt(h)])
    batch, log_jacobian = data.draw(config.source, config.batch, d, rng)
    if config.variant not in VARIATIONAL:
        return {"params": params, "data": batch, "log_jacobian": log_jacobian}
    if config.variant != "ising":
        return {"params": params, "data": batch}
    matrix, _ = ising.coupling(math.isqrt(d), config.temperature)
    inverse = np.linalg.inv(matrix)
    return {"params": params, "data": batch, "inverse_coupling": (inverse + inverse.T) / 2}


def work(config: FlowConfig) -> dict[str, int]:
    return {"parameters": layout(config).size, "rhs_evaluations": 4 * config.steps, "steps": config.steps}


def extent(config: FlowConfig) -> tuple[str, float]:
    """The multiplications of one matrix product at every step. No single dimension would do: sizes change all of them.

    A time that is bound by these products then grows with exponent 1. S of ``quadratic`` is d x d: d² in place of d·h.
    """
    rows = config.steps * config.batch * config.dim
    if config.variant == "quadratic":
        return "N·B·d²", float(rows * config.dim)
    return "N·B·d·h", float(rows * config.hidden)


def memory(config: FlowConfig, method: str, itemsize: int) -> int:
    """``discrete`` keeps some five (B, h) and three (B, d) arrays for each of the 4N stages.

    ``checkpointed`` keeps one (B, d) for each step and the stages of one; ``backsolve`` the stages of one. The library
    engines integrate ``backsolve``'s state, with a dozen stages that hold θ's cotangent each; JAX's keeps checkpoints,
    some fewer than ``discrete``. θ, its gradient and temporaries come on top.
    """
    stage = config.batch * (5 * config.hidden + 3 * config.dim) * itemsize
    parameters = layout(config).size * itemsize
    if config.variant == "ising":
        parameters += 4 * config.dim**2 * itemsize
    if method == "discrete":
        tape = 4 * config.steps * stage
    elif method == "checkpointed":
        tape = 4 * stage + config.steps * config.batch * (config.dim + 1) * itemsize
    elif method == "backsolve":
        tape = 4 * stage
    else:
        tape = 64 * stage + 32 * parameters
    return tape + 8 * parameters


def solver_tolerance(config: FlowConfig, dtype: Any) -> float:
    """Relative and absolute tolerance of the adaptive solvers: ``rtol``, or what the precision can tell apart."""
    return max(config.rtol, 100 * float(np.finfo(dtype).eps))


_MINIBATCHES = 20


def draw_fit(config: FlowConfig, seed: int) -> Arrays:
    """What `draw` gives, and minibatches (M, B, d) that Adam takes in turn: a single batch is soon memorised."""
    inputs = draw(config, seed)
    rng = np.random.default_rng([seed, 2])
    drawn = [data.draw(config.source, config.batch, config.dim, rng) for _ in range(_MINIBATCHES)]
    more = {"batches_data": np.stack([batch for batch, _ in drawn])}
    if "log_jacobian" in inputs:
        more["batches_log_jacobian"] = np.stack([log_jacobian for _, log_jacobian in drawn])
    return inputs | more
