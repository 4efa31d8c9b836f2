"""Engines: what differentiates a task on a backend, which is the default, and which cells an engine is known not to do.

The table `LIMITS` is data that tests read: a cell in it that works, or one outside it that does not, fails a test.
"""

from __future__ import annotations

from dataclasses import dataclass

OPERATORS = ("value", "gradient", "jvp", "hvp")
ENGINES = {
    "numpy": ("hand",),
    "torch": ("eager", "func", "compile", "cudagraph", "expert"),
    "jax": ("reverse", "forward", "forward_over_reverse", "reverse_over_reverse"),
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
    methods: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()

    def holds(
        self,
        backend: str,
        engine: str,
        operator: str,
        task: str,
        variant: str,
        device: str,
        method: str,
        precision: str,
        size: str,
    ) -> bool:
        """Whether the cell is one of these."""
        return (
            (self.backend, self.engine) == (backend, engine)
            and operator in self.operators
            and (not self.tasks or task in self.tasks)
            and (not self.variants or variant in self.variants)
            and (not self.devices or device in self.devices)
            and (not self.methods or method in self.methods)
            and (not self.precisions or precision in self.precisions)
            and (not self.sizes or size in self.sizes)
        )


ROUNDED = "Krylov methods end where a residual reaches rounding, and rounded products keep it from there: use float32"
SEEN_ROUNDED = (
    ("torch", "ground_state", ("small",)),
    ("torch", "long_chain", ("tiny", "small", "medium")),
    ("jax", "ground_state", ("small",)),
    ("jax", "long_chain", ("small",)),
)
"""Where `dominant` was seen to fail in TF32 on a GPU: PyTorch's answers are NaN, JAX has none within 12 s. The other
cells that were tried, of tiny chains, agree to 1.5e-3."""
ONCE = "a gradient by hand is not differentiated again: jvp and hvp are the other engines'"
ON_CUDA = "a CUDA graph is a recording of kernels on a CUDA device: there are none on cpu"

LIMITS = (
    Limit("torch", "cudagraph", OPERATORS, ON_CUDA, devices=("cpu",)),
    Limit(
        "torch",
        "cudagraph",
        OPERATORS,
        "PyTorch reads the status of every decomposition on the host, which no CUDA graph may do",
        tasks=("eigensolver", "trg"),
        devices=("cuda",),
    ),
    Limit(
        "torch",
        "compile",
        ("gradient", "hvp"),
        "Inductor (PyTorch 2.11) has no code on CUDA for the complex constants in these derivatives",
        tasks=("qcbm",),
        devices=("cuda",),
    ),
    Limit("torch", EXPERT, ("jvp", "hvp"), ONCE),
    Limit("torch", EXPERT, OPERATORS, "no expert form of this task is written", tasks=("eigensolver", "trg")),
    Limit(
        "torch",
        EXPERT,
        OPERATORS,
        "an expert form is written of the reference's method alone",
        methods=("checkpointed", "backsolve", "library", "adjoint", "parameter_shift"),
    ),
    *(
        Limit(
            backend,
            engine,
            OPERATORS,
            ROUNDED,
            tasks=("eigensolver",),
            variants=(variant,),
            devices=("cuda",),
            methods=("dominant",),
            precisions=("tf32",),
            sizes=sizes,
        )
        for backend, variant, sizes in SEEN_ROUNDED
        for engine in ENGINES[backend]
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


def limit(
    backend: str, engine: str, operator: str, task: str, variant: str,
    device: str = "cpu", method: str = "", precision: str = "float64", size: str = "",
) -> str:  # fmt: skip
    """Why an engine cannot do a cell, or an empty string."""
    asked = backend, engine, operator, task, variant, device, method, precision, size
    found = (one.reason for one in LIMITS if one.holds(*asked))
    return next(found, "")
