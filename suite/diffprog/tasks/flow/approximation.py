"""What the methods that approximate should answer at the inputs at hand, and how far they may be from it.

``backsolve`` takes the steps of RK4 back, a fixed sequence of operations: its answer is the reference's own backsolve,
to rounding. ``library`` solves the ODE itself: its answer is that of RK4 at N and 2N steps, extrapolated to ε = 0
(Richardson). This folder's README derives the allowed errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from diffprog.declaration import Allowed, Approximation
from diffprog.spec import Array, Arrays
from diffprog.tasks.flow.field import terminal
from diffprog.tasks.flow.problem import FlowConfig, layout, solver_tolerance
from diffprog.tasks.flow.reference import Flow

DISTANCE = 30.0
"""``backsolve`` may be as many times as far from the discrete gradient as N steps are from 2N: both are O(ε⁴), but
their constants are not the same. 4 was the most in 300 cases."""
ROUNDING = 1e-11
"""And this far at any rate."""
SAFETY = 4.0
"""A solver takes several steps, and knows its error by an estimate: four times what a single step is held to."""


def approximation(config: FlowConfig, method: str, inputs: Mapping[str, Array]) -> Approximation:
    """See `Task.approximation`; θ, batch and the target's data are in ``inputs``, float64."""
    data = {name: array for name, array in inputs.items() if name not in ("params", "directions")}
    theta = inputs["params"]
    coarse, fine = Flow(config, "checkpointed"), Flow(replace(config, steps=2 * config.steps), "checkpointed")
    value, gradient = coarse.gradient(theta, data)
    finer_value, finer = fine.gradient(theta, data)
    outputs, norm = coarse.outputs(theta, data), float(np.linalg.norm(gradient)) or 1.0
    if method == "backsolve":
        own_value, own = Flow(config, "backsolve").gradient(theta, data)
        distance = DISTANCE * float(np.linalg.norm(finer - gradient)) / norm + ROUNDING
        return Approximation(float(own_value), own, outputs, distance=distance)
    finer_outputs = fine.outputs(theta, data)
    best = {name: _extrapolated(outputs[name], finer_outputs[name]) for name in outputs}
    exact = _extrapolated(gradient, finer)
    exact_value = float(_extrapolated(value, finer_value))
    state, slope = _sensitivity(config, theta, data)

    def allowed(dtype: str) -> Allowed:
        tolerance = SAFETY * solver_tolerance(config, dtype)
        off = tolerance * state  # of the state at the end, in L2
        losses = off * (1 + slope)  # of the losses (B,), in L2
        mean = losses / math.sqrt(len(data["data"]))

        def output(name: str) -> float:
            known = float(np.linalg.norm(best[name] - finer_outputs[name]))
            if best[name].ndim == 0:  # a mean loss a dimension, in nats or bits
                return (known + mean / (config.dim * math.log(2))) / max(1.0, abs(float(best[name])))
            return (known + losses) / (float(np.linalg.norm(best[name])) or 1.0)

        return Allowed(
            value=(abs(exact_value - float(finer_value)) + mean) / max(1.0, abs(exact_value)),
            gradient=(float(np.linalg.norm(exact - finer)) + off) / norm + tolerance,
            outputs={name: output(name) for name in best},
        )

    return Approximation(exact_value, exact, best, allowed={dtype: allowed(dtype) for dtype in ("float64", "float32")})


def _extrapolated(coarse: Array, fine: Array) -> Array:
    """At ε = 0, from steps of ε and ε/2 whose errors are O(ε⁴)."""
    return np.asarray(fine + (fine - coarse) / 15)


def _sensitivity(config: FlowConfig, theta: Array, data: Arrays) -> tuple[float, float]:
    """What a solver's tolerance is multiplied with: the state's error in L2 and the loss's largest slope, of a sample.

    An adaptive solver keeps the root mean square of a step's error over atol + rtol |y| below one: its L2 norm below
    tol (√n + ‖y‖), y (n,) being all that is integrated: x, its cotangent, ∫∇²u dt and θ's cotangent. The field
    stretches that by exp(T ‖∂v/∂x‖) at most.
    """
    x, integral, _ = Flow(config, "discrete").integrate(theta, data)
    _, x_bar, _ = terminal(config, x, integral, data)
    count = 2 * x.size + len(x) + theta.size
    size = np.sqrt(count) + np.linalg.norm(x) + np.linalg.norm(data["data"])
    return float(size * np.exp(config.time * lipschitz(config, theta))), float(np.linalg.norm(x_bar, axis=1).max())


def lipschitz(config: FlowConfig, theta: Array) -> float:
    """A bound on ‖∂v/∂x‖: ∂v/∂x = Wᵀ diag(a φ″) W with 0 ≤ φ″ ≤ ¼ for softplus, 1 for ln cosh; S for ``quadratic``."""
    parts = layout(config).split(theta)
    if config.variant == "quadratic":
        return float(np.linalg.norm((parts["A"] + parts["A"].T) / 2, 2))
    w, a = parts["W"], np.abs(parts["a"])
    steepest = 0.25 if config.variant == "density" else 1.0
    return steepest * float(np.linalg.norm((w.T * a) @ w, 2))
