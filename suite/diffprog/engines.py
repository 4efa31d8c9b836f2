"""Engines: what differentiates a task on a backend, which is the usual one, and what an engine is known not to do.

The table `LIMITS` is data that tests read, as a task's own are: a cell in it that works, or one outside it that does
not, fails a test.
"""

from __future__ import annotations

from collections.abc import Iterable

from diffprog.spec import OPERATORS, Cell, Limit

ENGINES = {
    "numpy": ("hand",),
    "torch": ("eager", "func", "compile", "cudagraph", "expert"),
    "jax": ("reverse", "forward", "forward_over_reverse", "reverse_over_reverse", "enzyme"),
    "julia": ("zygote", "forwarddiff", "mooncake", "enzyme", "yao"),
}
"""The engines of each backend. All are as a good user of it writes them, but for `EXPERT`."""

EXPERT = "expert"
"""Value and gradient by hand, for few and large kernels: another level of craft, and of effort."""
OF_VALUES = ("compile", "cudagraph", EXPERT)
"""Engines by which a value is another computation than by the default."""

OWN = "own"
"""The one engine of a backend that is not the suite's; see docs/protocol.md."""
ALL = tuple(name for engines in ENGINES.values() for name in engines)


def default(backend: str, operator: str) -> str:
    """The engine that is used where none is asked for and the task has no other; see `tasks.engine`."""
    if backend == "jax":
        return {"jvp": "forward", "hvp": "forward_over_reverse"}.get(operator, "reverse")
    if backend == "julia":
        return "forwarddiff" if operator == "jvp" else "zygote"
    return ENGINES.get(backend, (OWN,))[0]


ONCE = "a gradient by hand is not differentiated again: jvp and hvp are the other engines'"
ON_CUDA = "a CUDA graph is a recording of kernels on a CUDA device: there are none on cpu"
NO_EXPERT = Limit("torch", EXPERT, OPERATORS, "no expert form of this task is written")
"""For the limits of tasks."""
NO_CIRCUIT = Limit("julia", "yao", ("gradient",), "Yao differentiates circuits alone")

LIMITS = (
    Limit("torch", "cudagraph", OPERATORS, ON_CUDA, devices=("cpu",)),
    Limit("torch", EXPERT, ("jvp", "hvp"), ONCE),
    Limit("jax", "reverse", ("jvp", "hvp"), "reverse mode gives gradients: a jvp is forward's, an hvp takes two modes"),
    Limit("jax", "forward", ("hvp",), "forward mode gives first derivatives: an hvp takes two modes"),
    Limit("jax", "forward_over_reverse", ("gradient", "jvp"), "two modes give second derivatives only"),
    Limit("jax", "reverse_over_reverse", ("gradient", "jvp"), "two modes give second derivatives only"),
    Limit("julia", "zygote", ("jvp",), "Zygote has reverse mode alone: a jvp takes forward mode"),
    Limit("julia", "yao", ("jvp", "hvp"), "Yao has reverse mode alone: gradients of circuits"),
)
"""What holds for every task: declared once, for the run, the report and the tests."""


def limit(cell: Cell, own: Iterable[Limit] = ()) -> str:
    """Why its engine cannot do a cell, or an empty string; ``own`` are the limits of its task."""
    return next((one.reason for one in (*LIMITS, *own) if one.holds(cell)), "")
