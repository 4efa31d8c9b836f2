"""The reference: NumPy, with every derivative written by hand.

L = −mean ln ℓ, where ℓ = y p + (1 − y)(1 − p) is the probability of a sample's label: as y is 0 or 1, this is
−mean(y ln p + (1 − y) ln(1 − p)), with one logarithm that is never of what does not count.

Sources: Schuld et al., arXiv:1804.00633 (the classifier); Jones, Gacon, arXiv:2009.02823 and Luo et al.,
arXiv:1912.10877, section on reversible differentiation (``adjoint``); Mitarai et al., arXiv:1803.00745 and Schuld et
al., arXiv:1811.11184 (``parameter_shift``).
"""

from __future__ import annotations

from collections import deque
from functools import partial

import numpy as np

from diffprog.circuits import tables
from diffprog.circuits.states import by_shifts, entangle, evolve, layers_of, rotate, sweep_back
from diffprog.spec import Array, Arrays, Functions
from diffprog.tasks.classifier.problem import ClassifierConfig
from diffprog.tasks.classifier.samples import chances, flat, likelihood, rotating, start, table_of, unrotating
from diffprog.tasks.classifier.second import cotangent, hvp, jvp


def build(config: ClassifierConfig, method: str) -> Functions:
    """The task's functions on NumPy arrays; data are the arrays of ``problem.draw`` without ``params``."""
    n, depth = config.qubits, config.depth
    parts = tables.groups(n)

    def final(theta: Array, given: Array, gather: Array) -> Array:
        """The states (..., B, 2ⁿ) of θ (..., P) after the circuit."""
        begun = start(config, given)
        begun = np.broadcast_to(begun, (*theta.shape[:-1], *begun.shape))
        layers, rotations = layers_of(table_of(config, theta), parts), rotating(config, given)
        (states,) = deque(evolve(layers, gather, rotations, start=begun), maxlen=1)
        return states

    def likelihoods(theta: Array, data: Arrays) -> Array:
        return likelihood(final(theta, data[config.source], data["permutation"]), data["labels"])

    def value(theta: Array, data: Arrays) -> Array:
        return np.asarray(-np.log(likelihoods(theta, data)).mean(axis=-1))

    def reverse(theta: Array, data: Arrays) -> tuple[Array, Array]:
        """Carries λ = −(w/ℓB) ∘ ψ backwards: dL = 2 Re <λ|dψ>. ψ is kept, or un-applied as λ is (``adjoint``)."""
        table, gather, given = table_of(config, theta), data["permutation"], data[config.source]
        layers, begun = layers_of(table, parts), start(config, given)
        steps = evolve(layers, gather, rotating(config, given), start=begun)
        kept = deque(steps, maxlen=1 if method == "adjoint" else None)
        likely = likelihood(kept[-1], data["labels"])
        bar = cotangent(kept[-1], data["labels"], likely)
        slopes = sweep_back(table, layers, gather, kept, bar, unrotating(config, given))
        return np.asarray(-np.log(likely).mean()), flat(config, slopes)

    def parameter_shift(theta: Array, data: Arrays) -> tuple[Array, Array]:
        """dℓ/dθ_k = ½(ℓ(θ + π/2 e_k) − ℓ(θ − π/2 e_k)), and dL = −mean dℓ/ℓ. A chunk of batches at a time."""
        likely = likelihoods(theta, data)

        def slope(above: Array, below: Array) -> Array:
            slopes = (likelihoods(above, data) - likelihoods(below, data)) / 2
            return np.asarray(-(slopes / likely).mean(axis=-1))

        pairs = tables.circuits_at_once(n, depth, theta.itemsize, len(likely)) // 2
        return np.asarray(-np.log(likely).mean()), by_shifts(slope, theta, pairs)

    def outputs(theta: Array, data: Arrays) -> Arrays:
        known, unseen = (data[name] for name in (config.source, f"held_{config.source}"))
        p, held_out = (chances(final(theta, given, data["permutation"]))[:, 0] for given in (known, unseen))
        return {"probabilities": p, "held_out": held_out}

    def work(theta: Array, data: Arrays) -> dict[str, int]:
        tally, encoded, given = tables.Tally(), tables.Tally(), data[config.source]
        rotations = rotating(config, given, encoded.rotating(rotate))
        layers, begun = layers_of(table_of(config, theta), parts), start(config, given)
        steps = evolve(layers, data["permutation"], tally.rotating(rotations), tally.entangling(entangle), begun)
        (states,) = deque(steps, maxlen=1)
        found = tally.work(theta.size, theta.size, data["cnots"], data["permutation"]) | {"samples": len(states)}
        return found if config.uploads_images else found | {"encodings": 2 * n * encoded.rotation_layers}

    if method != "reverse":
        gradient = parameter_shift if method == "parameter_shift" else reverse
        return Functions(value, gradient, outputs, work, made_with="hand")
    forward, twice = (partial(rule, config) for rule in (jvp, hvp))
    return Functions(value, reverse, outputs, work, made_with="hand", jvp=forward, hvp=twice)
