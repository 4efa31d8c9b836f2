"""What the work-precision diagram of the flow varies: the steps of RK4, the tolerance of the adaptive solvers."""

from __future__ import annotations

from diffprog.tasks.flow.problem import FlowConfig

Change = tuple[str, dict[str, int | float]]


def converged(config: FlowConfig) -> Change:
    """RK4 with 32 times the size's steps: its O(ε⁴) error is a million times smaller, or lost in rounding."""
    return "discrete", {"steps": 32 * config.steps}


def ladder(config: FlowConfig) -> list[Change]:
    """Methods and changes, coarse to fine."""
    counts = sorted({max(1, round(config.steps * factor)) for factor in (0.1, 0.2, 0.5, 1, 2, 4)})
    steps: list[Change] = [(method, {"steps": n}) for method in ("discrete", "backsolve") for n in counts]
    return steps + [("library", {"rtol": rtol}) for rtol in (1e-3, 1e-5, 1e-7, 1e-9, 1e-11)]
