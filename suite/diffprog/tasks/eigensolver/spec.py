"""The declaration of the eigensolver task: where its gradient exists, and exact answers. See ``problem``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from diffprog.declaration import Fit, Task
from diffprog.spec import Array
from diffprog.tasks.eigensolver import fermions, hamiltonian, krylov
from diffprog.tasks.eigensolver.demand import demand
from diffprog.tasks.eigensolver.limits import LIMITS
from diffprog.tasks.eigensolver.problem import EigensolverConfig, configure, draw, extent, layout, memory, work


def undefined(config: EigensolverConfig, inputs: Mapping[str, Array]) -> str:
    """Whether a level of the loss coincides with its neighbour to rounding: then nothing made of one has a derivative.

    Nor has the absolute value of an overlap that vanishes. Drawn chains are neither (MIN_GAP, positive couplings). For
    those that are given the levels are found on the host, by Lanczos.
    """
    scale = hamiltonian.bound(inputs["params"])
    found = krylov.levels(hamiltonian.Operator(inputs["params"]), inputs["start"], scale, config.levels + 1)
    resolution = krylov.RESOLUTION * np.finfo(np.float64).eps * scale
    gaps = np.diff(found.energies)
    coincide = np.flatnonzero(gaps <= resolution)
    if not coincide.size:
        # First-order perturbation theory: rounding of H turns the ground state by as much as this.
        state, turned = inputs["target"], resolution / float(gaps.min())
        if state.shape == found.vectors[0].shape and abs(float(found.vectors[0] @ state)) <= turned:
            return "the ground state is orthogonal to the target to rounding: |<v₀|ψ>| has no derivative at 0"
        return ""
    return f"levels {coincide[0]} and {coincide[0] + 1} coincide to rounding: the gradient does not exist there"


def closed_form(config: EigensolverConfig, inputs: Mapping[str, Array]) -> tuple[float, Array] | None:
    """By free fermions, where all couplings are positive, as drawn ones are; see ``fermions``."""
    theta, planted = inputs["params"], inputs["planted"]
    if min(theta.min(), planted.min()) <= 0:
        return None
    if config.variant == "ground_state":
        overlap, slope = fermions.overlap(theta, planted)
        return 1 - overlap, -slope
    energies, slopes = fermions.levels(theta, config.levels)
    errors = energies - fermions.levels(planted, config.levels)[0]
    return float(errors @ errors), np.asarray(2 * errors @ slopes)


TASK = Task(
    name="eigensolver",
    title="Hamiltonian engineering: a quantum chain fitted through its lowest eigenpairs",
    variants=("ground_state", "spectrum", "long_chain"),
    methods=("dense", "dominant"),
    configure=configure,
    draw=draw,
    layout=layout,
    work=work,
    extent=extent,
    memory=memory,
    demand=demand,
    tolerance=1e-11,
    closed_form=closed_form,
    float32_floor=3e-4,
    counts=("applications",),
    references={"long_chain": "dominant"},
    undefined=undefined,
    bound=lambda config: 0.0,  # where the planted levels or state are met
    fit=Fit(
        variants=("spectrum", "ground_state", "long_chain"),
        size="small",
        steps=500,
        rate=0.01,
        draw=draw,
    ),
    limits=LIMITS,
    goals={"dense": 3.0},
)
