"""The declaration of the energies of parameterised circuits. Their variants, sizes and inputs are in ``problem``."""

from __future__ import annotations

from collections.abc import Mapping

from diffprog.declaration import Fit, Task
from diffprog.spec import Array
from diffprog.tasks.vqe import bethe, cuts, fermions
from diffprog.tasks.vqe.demand import demand
from diffprog.tasks.vqe.limits import LIMITS
from diffprog.tasks.vqe.problem import VqeConfig, configure, draw, extent, layout, memory, work
from diffprog.tasks.vqe.start import draw_fit


def closed_form(config: VqeConfig, inputs: Mapping[str, Array]) -> tuple[float, Array] | None:
    """`tfim`: free fermions. `maxcut` has one for a single pair of layers."""
    if config.variant == "tfim":
        return fermions.energy(config.qubits, inputs["params"])
    if config.variant == "maxcut" and config.depth == 1:
        return cuts.one_layer(len(inputs["bonds"]), inputs["params"])
    return None


def bound(config: VqeConfig) -> float:
    """The ground state energy; of `maxcut` minus the largest cut."""
    if config.variant == "maxcut":
        return -cuts.largest(config)
    of = fermions.ground_energy if config.variant == "tfim" else bethe.ground_energy
    return of(config.qubits)


TASK = Task(
    name="vqe",
    title="Energies of parameterised circuits: VQE and QAOA on spin rings and graphs",
    variants=("tfim", "heisenberg", "maxcut"),
    methods=("reverse", "adjoint", "parameter_shift"),
    configure=configure,
    draw=draw,
    layout=layout,
    work=work,
    extent=extent,
    memory=memory,
    demand=demand,
    tolerance=1e-12,
    closed_form=closed_form,
    bound=bound,
    fit=Fit(variants=("tfim", "heisenberg", "maxcut"), size="small", steps=1000, rate=0.02, draw=draw_fit),
    engines={("julia", "value"): "yao", ("julia", "gradient"): "yao"},
    limits=LIMITS,
    goals={"adjoint": 4.0},
    explained={
        "adjoint": "ψ forwards, then ψ and λ back and inner products at each layer: about 4 circuits",
        "parameter_shift": "two circuits a gate, whatever gates share a parameter: {twice} for two a parameter alone",
    },
)
