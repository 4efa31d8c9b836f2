"""The declaration of the flow task: what a right answer must meet, and how it is fitted. See ``problem``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from diffprog.declaration import Fit, Task
from diffprog.spec import Array
from diffprog.tasks.flow import data, quadratic, reference, targets
from diffprog.tasks.flow.approximation import approximation
from diffprog.tasks.flow.demand import demand
from diffprog.tasks.flow.limits import LIMITS
from diffprog.tasks.flow.problem import VARIATIONAL, FlowConfig, configure, draw, draw_fit, extent, layout, memory, work


def bound(config: FlowConfig) -> float | None:
    """−ln Z in nats, exact: no flow has a smaller variational free energy. None where there is no target."""
    return -targets.log_partition(config) if config.variant in VARIATIONAL else None


def undefined(config: FlowConfig, inputs: Mapping[str, Array]) -> str:
    """Whether a sample of ``ring`` ends where its density has a cusp, at the origin, without having begun there.

    The field is odd: what begins at the origin stays there whatever θ is, and has no share in the gradient.
    """
    if config.variant != "ring":
        return ""
    data = {name: array for name, array in inputs.items() if name != "params"}
    x, _, _ = reference.Flow(config, "discrete").integrate(inputs["params"], data)
    lost = np.flatnonzero((x == 0).all(axis=1) & (data["data"] != 0).any(axis=1))
    return f"sample {lost[0]} ends at the origin, where |x| has no derivative" if lost.size else ""


def closed_form(config: FlowConfig, inputs: Mapping[str, Array]) -> tuple[float, Array] | None:
    if config.variant != "quadratic":
        return None
    return quadratic.exact(inputs["params"], inputs["data"], config.steps, config.time)


TASK = Task(
    name="flow",
    title="the Monge-Ampère flow integrated by RK4: density estimation and variational free energy",
    variants=("density", "quadratic", *VARIATIONAL),
    methods=("discrete", "checkpointed", "backsolve", "library"),
    configure=configure,
    draw=draw,
    layout=layout,
    work=work,
    extent=extent,
    memory=memory,
    demand=demand,
    tolerance=1e-11,
    approximating=("backsolve", "library"),
    approximation=approximation,
    adaptive=("library",),
    closed_form=closed_form,
    undefined=undefined,
    bound=bound,
    describe=lambda config: data.describe(config.source),
    fit=Fit(variants=("density", *VARIATIONAL), size="small", steps=500, rate=0.01, draw=draw_fit),
    limits=LIMITS,
    goals={"discrete": 3.0},
    explained={
        "discrete": "each matrix product has two more in reverse: the products alone come to 3 values",
        "checkpointed": "the forward pass is computed again between checkpoints",
        "backsolve": "the state is integrated a second time, backwards, together with its adjoint",
        "library": "the adaptive solver chooses the steps of the adjoint anew",
    },
)
