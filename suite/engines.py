"""Engines: what differentiates a task on a backend, which is the default, and which cells an engine is known not to do.

The table `LIMITS` is data that tests read: a cell in it that works, or one outside it that does not, fails a test.
"""

from __future__ import annotations

from dataclasses import dataclass

ENGINES = {
    "numpy": ("hand",),
    "torch": ("eager", "func", "compile", "cudagraph"),
    "jax": ("reverse", "forward", "forward_over_reverse", "reverse_over_reverse"),
    "julia": ("zygote", "forwarddiff", "mooncake", "enzyme", "yao"),
}
"""The engines of each backend."""

OWN = "own"
"""The one engine of a backend that is not the suite's; see docs/protocol.md."""
ALL = tuple(name for engines in ENGINES.values() for name in engines)


def default(backend: str, task: str, operator: str) -> str:
    """The engine that is used where none is asked for."""
    if backend == "jax":
        return {"jvp": "forward", "hvp": "forward_over_reverse"}.get(operator, "reverse")
    if backend == "julia":
        if task == "qcbm" and operator in ("value", "gradient"):
            return "yao"
        return "forwarddiff" if operator == "jvp" else "zygote"
    return ENGINES.get(backend, (OWN,))[0]


@dataclass(frozen=True)
class Limit:
    """Cells that an engine cannot do, and why. An empty tuple means all there are."""

    backend: str
    engine: str
    operators: tuple[str, ...]
    reason: str
    tasks: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()

    def holds(self, backend: str, engine: str, operator: str, task: str, variant: str, device: str) -> bool:
        """Whether the cell is one of these."""
        return (
            (self.backend, self.engine) == (backend, engine)
            and operator in self.operators
            and (not self.tasks or task in self.tasks)
            and (not self.variants or variant in self.variants)
            and (not self.devices or device in self.devices)
        )


ON_CUDA = "a CUDA graph is a recording of kernels on a CUDA device: there are none on cpu"

LIMITS = (
    Limit("torch", "cudagraph", ("value", "gradient", "jvp", "hvp"), ON_CUDA, devices=("cpu",)),
    Limit(
        "torch",
        "cudagraph",
        ("value", "gradient", "jvp", "hvp"),
        "PyTorch reads the status of every decomposition on the host, which no CUDA graph may do",
        tasks=("eigensolver", "trg"),
        devices=("cuda",),
    ),
    Limit("jax", "reverse", ("jvp", "hvp"), "reverse mode gives gradients: a jvp is forward's, an hvp takes two modes"),
    Limit("jax", "forward", ("hvp",), "forward mode gives first derivatives: an hvp takes two modes"),
    Limit("jax", "forward_over_reverse", ("gradient", "jvp"), "two modes give second derivatives only"),
    Limit("jax", "reverse_over_reverse", ("gradient", "jvp"), "two modes give second derivatives only"),
    Limit("julia", "zygote", ("jvp",), "Zygote has reverse mode alone: a jvp takes forward mode"),
    Limit("julia", "yao", ("jvp", "hvp"), "Yao has reverse mode alone: gradients of circuits"),
    Limit("julia", "yao", ("gradient",), "Yao differentiates circuits alone", tasks=("flow", "eigensolver", "trg")),
)
"""Declared once, here, for the run, the report and the tests."""


def limit(backend: str, engine: str, operator: str, task: str, variant: str, device: str = "cpu") -> str:
    """Why an engine cannot do a cell, or an empty string."""
    found = (one.reason for one in LIMITS if one.holds(backend, engine, operator, task, variant, device))
    return next(found, "")
