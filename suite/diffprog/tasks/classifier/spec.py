"""The declaration of circuits that classify. Their variants, sizes and inputs are in ``problem``."""

from __future__ import annotations

from diffprog.declaration import Fit, Task
from diffprog.tasks.classifier.demand import demand
from diffprog.tasks.classifier.limits import LIMITS
from diffprog.tasks.classifier.problem import configure, describe, draw, extent, layout, memory, work

TASK = Task(
    name="classifier",
    title="Circuits that classify a batch of samples: digits as amplitudes, and points re-uploaded in every layer",
    variants=("digits", "reuploading"),
    methods=("reverse", "adjoint", "parameter_shift"),
    configure=configure,
    draw=draw,
    layout=layout,
    work=work,
    extent=extent,
    memory=memory,
    demand=demand,
    describe=describe,
    tolerance=1e-12,
    fit=Fit(variants=("digits", "reuploading"), size="small", steps=300, rate=0.05, draw=draw),
    engines={("julia", "value"): "yao", ("julia", "gradient"): "yao"},
    limits=LIMITS,
    goals={"adjoint": 4.0},
    explained={
        "adjoint": "ψ forwards, then ψ and λ back and inner products at each layer: about 4 circuits",
        "parameter_shift": "two batches of circuits a parameter: 2P = {twice} evaluations",
    },
)
