"""The declaration of the quantum circuit Born machine. Its variants, sizes and inputs are in ``problem``."""

from __future__ import annotations

import math
from collections.abc import Mapping

from diffprog.declaration import Fit, Minimax, Task
from diffprog.spec import Array
from diffprog.tasks.qcbm.demand import demand
from diffprog.tasks.qcbm.limits import LIMITS
from diffprog.tasks.qcbm.problem import SIGMAS, QcbmConfig, configure, draw, extent, layout, memory, work


def closed_form(config: QcbmConfig, inputs: Mapping[str, Array]) -> tuple[float, Array] | None:
    """None: a circuit with entangling gates has no closed form."""
    return None


TASK = Task(
    name="qcbm",
    title="Quantum circuit Born machine: maximum mean discrepancy, or a discriminator, of a simulated circuit",
    variants=("gaussian", "bars_and_stripes", "adversarial"),
    methods=("reverse", "adjoint", "parameter_shift"),
    configure=configure,
    draw=draw,
    layout=layout,
    work=work,
    extent=extent,
    memory=memory,
    demand=lambda config, method, operator, itemsize: demand(
        config, method, operator, itemsize, len(SIGMAS.get(config.kernel, ()))
    ),
    tolerance=1e-12,
    closed_form=closed_form,
    bound=lambda config: None if config.hidden else 0.0,  # at p = π; a game has a saddle
    fit=Fit(
        variants=("bars_and_stripes", "gaussian", "adversarial"),
        size="small",
        steps=2000,
        rate=0.1,
        draw=draw,
        minimax={
            "adversarial": Minimax(
                ascend=("W1", "b1", "W2", "b2"), pace=10.0, size="tiny", steps=3000, rate=0.005, saddle=-2 * math.log(2)
            )
        },
    ),
    engines={("julia", "value"): "yao", ("julia", "gradient"): "yao"},
    limits=LIMITS,
    goals={"adjoint": 4.0},
    explained={
        "adjoint": "ψ forwards, then ψ and λ back and an inner product for each gate: about 4 circuits",
        "parameter_shift": "two circuits a parameter: 2P = {twice} evaluations",
    },
)
