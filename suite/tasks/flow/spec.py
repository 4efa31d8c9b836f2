"""The declaration of the flow task: variants, sizes, inputs, invariants.

Source: Zhang, E, Wang, "Monge-Ampère flow for generative modeling", arXiv:1809.10188, eqs. 3-7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from suite.errors import UsageError
from suite.spec import Array, Arrays, Block, Fit, Layout, Task
from suite.tasks.flow import data, quadratic


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
    """Where the batch comes from; see ``suite.tasks.flow.data``."""


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
_SIZES = {"density": _DENSITY, "quadratic": _QUADRATIC}


def configure(variant: str, size: str) -> FlowConfig:
    try:
        return _SIZES[variant][size]
    except KeyError:
        raise UsageError(f"task flow has no variant {variant!r} of size {size!r}") from None


def layout(config: FlowConfig) -> Layout:
    d, h = config.dim, config.hidden
    if config.variant == "quadratic":
        return Layout((Block("A", (d, d)),))
    return Layout((Block("W", (h, d)), Block("b", (h,)), Block("a", (h,))))


def draw(config: FlowConfig, seed: int) -> Arrays:
    """``params`` (P,), ``data`` (B, d) and ``log_jacobian`` (B,): ln |dy/dx| of the preprocessing, for bits/dim."""
    rng = np.random.default_rng(seed)
    d, h = config.dim, config.hidden
    if config.variant == "quadratic":
        # Eigenvalues of S within about ±1/T, so that x₀ stays of order one whatever the size.
        params = rng.standard_normal(d * d) / (np.sqrt(2 * d) * config.time)
    else:
        weights = rng.uniform(-1, 1, (h * d + h)) / np.sqrt(d)
        params = np.concatenate([weights, rng.uniform(-1, 1, h) / np.sqrt(h)])
    batch, log_jacobian = data.draw(config.source, config.batch, d, rng)
    return {"params": params, "data": batch, "log_jacobian": log_jacobian}


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

    ``checkpointed`` keeps one (B, d) for each step and the stages of one. θ, its gradient and temporaries come on top.
    """
    stage = config.batch * (5 * config.hidden + 3 * config.dim) * itemsize
    if method == "discrete":
        tape = 4 * config.steps * stage
    else:
        tape = 4 * stage + config.steps * config.batch * (config.dim + 1) * itemsize
    return tape + 8 * layout(config).size * itemsize


def closed_form(config: FlowConfig, inputs: Mapping[str, Array]) -> tuple[float, Array] | None:
    if config.variant != "quadratic":
        return None
    return quadratic.exact(inputs["params"], inputs["data"], config.steps, config.time)


_MINIBATCHES = 20


def draw_fit(config: FlowConfig, seed: int) -> Arrays:
    """What `draw` gives, and minibatches (M, B, d) that Adam takes in turn: a single batch is soon memorised."""
    inputs = draw(config, seed)
    rng = np.random.default_rng([seed, 2])
    drawn = [data.draw(config.source, config.batch, config.dim, rng) for _ in range(_MINIBATCHES)]
    return inputs | {
        "batches_data": np.stack([batch for batch, _ in drawn]),
        "batches_log_jacobian": np.stack([log_jacobian for _, log_jacobian in drawn]),
    }


TASK = Task(
    name="flow",
    title="ODE flow density estimation: the Monge-Ampère flow integrated by RK4",
    variants=("density", "quadratic"),
    methods=("discrete", "checkpointed"),
    configure=configure,
    draw=draw,
    layout=layout,
    work=work,
    extent=extent,
    memory=memory,
    tolerance=1e-11,
    closed_form=closed_form,
    describe=lambda config: data.describe(config.source),
    fit=Fit(variants=("density",), size="small", steps=500, rate=0.01, draw=draw_fit),
)
