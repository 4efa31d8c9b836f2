"""The loop of a fit, inside the worker: the framework's own Adam, or SciPy's L-BFGS for every backend alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

from diffprog.backends.base import Pace, Trainer
from diffprog.records import npz
from diffprog.spec import Array, Arrays

BATCHES = "batches_"
SAVE_EVERY = 2.0
"""Seconds between the states that are written while a fit runs, so that a killed one is not lost."""

OnStep = Callable[[int, float, float], None]
"""Told ``(step, loss, seconds since the start)``."""


class NotFinite(Exception):
    """The loss became NaN or infinite."""


def minibatches(inputs: Arrays) -> list[Arrays]:
    """The data of each minibatch, the case's own first; ``params`` and what is for the fit alone are left out."""
    own = {name: x for name, x in inputs.items() if name != "params" and not name.startswith((BATCHES, "fit_"))}
    stacked = {name.removeprefix(BATCHES): x for name, x in inputs.items() if name.startswith(BATCHES)}
    count = min((len(x) for x in stacked.values()), default=0)
    return [own, *(own | {name: np.ascontiguousarray(x[i]) for name, x in stacked.items()} for i in range(count))]


@dataclass
class Fitting:
    """One fit under way.

    Attributes:
        trainer: the cell.
        inputs: what `spec.Fit.draw` gave.
        path: where the state is written.
        on_step: told of every step.
    """

    trainer: Trainer
    inputs: Arrays
    path: Path
    on_step: OnStep
    losses: list[float] = field(default_factory=list)
    evaluations: int = 0

    def __post_init__(self) -> None:
        self._start = self._saved = perf_counter()

    @property
    def seconds(self) -> float:
        return perf_counter() - self._start

    def run(self, optimiser: str, steps: int, rate: float) -> str:
        """Optimises, writes the final state and the outputs there; returns why the optimiser stopped.

        Raises:
            NotFinite: if the loss becomes NaN or infinite; the last finite state is kept.
        """
        theta, message = self._adam(steps, rate) if optimiser == "adam" else self._lbfgs(steps)
        self._save(theta, self._results(theta))
        return message

    def _adam(self, steps: int, rate: float) -> tuple[Array, str]:
        factors = self.inputs.get("fit_pace")
        pace = None if factors is None else Pace(factors, steps)
        adam = self.trainer.adam(self.inputs["params"], rate, pace)
        # With minibatches the case's own data comes first and then only at the end, to judge by.
        extra = self.trainer.batches - 1
        for step in range(steps):
            before = adam.theta() if self._due() else None
            loss = adam.step(1 + step % extra if extra else 0)
            self.evaluations += 1
            self._note(step, loss, before)
        theta = adam.theta()
        self._note(steps, self._evaluate(theta)[0], theta)
        return theta, f"{steps} steps done"

    def _lbfgs(self, steps: int) -> tuple[Array, str]:
        from scipy.optimize import OptimizeResult, minimize

        theta = self.inputs["params"]
        self._note(0, self._evaluate(theta)[0], theta)

        def note(intermediate_result: OptimizeResult) -> None:  # SciPy goes by the argument's name
            self._note(len(self.losses), float(intermediate_result.fun), intermediate_result.x)

        bounds = [tuple(self.inputs["fit_bounds"])] * theta.size if "fit_bounds" in self.inputs else None
        found = minimize(
            self._evaluate, theta, jac=True, method="L-BFGS-B", callback=note, bounds=bounds,
            options={"maxiter": steps, "maxfun": 10 * steps, "maxcor": 20, "ftol": 0.0, "gtol": 1e-10},
        )  # fmt: skip
        return found.x, str(found.message)

    def _evaluate(self, theta: Array) -> tuple[float, Array]:
        self.evaluations += 1
        return self.trainer.gradient_at(theta, 0)

    def _note(self, step: int, loss: float, theta: Array | None) -> None:
        if not np.isfinite(loss):
            raise NotFinite(f"the loss became {loss} at step {step}")
        self.losses.append(loss)
        self.on_step(step, loss, self.seconds)
        if theta is not None and self._due():
            self._save(theta, {})
            self._saved = perf_counter()

    def _due(self) -> bool:
        return perf_counter() - self._saved > SAVE_EVERY

    def _results(self, theta: Array) -> Arrays:
        """The outputs at the end, and value and gradient at the points of ``fit_scan``."""
        found = self.trainer.outputs_at(theta)
        if "fit_scan" in self.inputs:
            points = [self.trainer.gradient_at(point, 0) for point in self.inputs["fit_scan"]]
            source = self.inputs.get("fit_source", np.zeros_like(theta))
            found["scan_value"] = np.array([value for value, _ in points]) + self.inputs["fit_scan"] @ source
            found["scan_gradient"] = np.array([gradient for _, gradient in points]) + source
        return found

    def _save(self, theta: Array, results: Arrays) -> None:
        draft = self.path.with_name(self.path.stem + ".partial.npz")
        own: Arrays = {"theta": theta, "losses": np.array(self.losses)}
        npz.write(draft, own | results | own)  # an output of their name is none
        draft.replace(self.path)
