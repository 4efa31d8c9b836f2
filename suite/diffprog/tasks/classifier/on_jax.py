"""Circuits that classify in JAX: reverse mode, gates un-applied by hand, or shifted circuits; the backend compiles.

A batch of states is (B, 2ⁿ), complex, and goes through the circuit as a whole. A scan goes over layers.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffprog.circuits import tables
from diffprog.circuits.states_jax import by_shifts, entangle, evolve, layers_of, rotate
from diffprog.spec import Functions
from diffprog.tasks.classifier import samples_jax as samples
from diffprog.tasks.classifier.problem import ClassifierConfig

Data = dict[str, Array]


def build(config: ClassifierConfig, method: str) -> Functions:
    """The task's functions on JAX arrays, all of them traceable in (theta, data)."""

    def likelihoods(theta: Array, data: Data) -> Array:
        states = samples.final(config, theta, data[config.source], data["permutation"])
        return samples.likelihood(states, data["labels"])

    def value(theta: Array, data: Data) -> Array:
        return -jnp.log(likelihoods(theta, data)).mean()

    def adjoint(theta: Array, data: Data) -> tuple[Array, Array]:
        """Un-applies the gates from ψ and λ = −(w/ℓB) ∘ ψ together, (2, B, 2ⁿ); dL = 2 Re <λ|dψ>."""
        given, gather = data[config.source], data["permutation"]
        psi = samples.final(config, theta, given, gather)
        likely = samples.likelihood(psi, data["labels"])
        scale = -samples.weights(data["labels"]) / (likely * len(likely))[:, None]
        bar = (scale[:, :, None] * samples.halves(psi)).reshape(psi.shape)
        return -jnp.log(likely).mean(), samples.swept(config, theta, given, gather, jnp.stack([psi, bar]))

    def parameter_shift(theta: Array, data: Data) -> tuple[Array, Array]:
        """dℓ/dθ_k = ½(ℓ(θ + π/2 e_k) − ℓ(θ − π/2 e_k)), and dL = −mean dℓ/ℓ. A chunk of batches at a time."""
        likely = likelihoods(theta, data)

        def slope(above: Array, below: Array) -> Array:
            return -((likelihoods(above, data) - likelihoods(below, data)) / (2 * likely)).mean()

        pairs = tables.circuits_at_once(config.qubits, config.depth, theta.dtype.itemsize, len(likely)) // 2
        return -jnp.log(likely).mean(), by_shifts(slope, theta, pairs)

    def outputs(theta: Array, data: Data) -> Data:
        known, unseen = (data[name] for name in (config.source, f"held_{config.source}"))
        chances = [samples.chances(samples.final(config, theta, x, data["permutation"]))[:, 0] for x in (known, unseen)]
        return {"probabilities": chances[0], "held_out": chances[1]}

    def work(theta: Array, data: Data) -> dict[str, int]:
        tally, encoded, given, gather = tables.Tally(), tables.Tally(), data[config.source], data["permutation"]
        rotations = samples.rotating(config, given, encoded.rotating(rotate))
        layers, begun = layers_of(samples.table_of(config, theta)), samples.start(config, given)
        with jax.disable_jit():  # the scan's body then really runs once a layer
            states = evolve(layers, gather, tally.rotating(rotations), tally.entangling(entangle), begun)
        found = tally.work(theta.size, theta.size, np.asarray(data["cnots"]), np.asarray(gather))
        found |= {"samples": len(states)}
        return found if config.uploads_images else found | {"encodings": 2 * config.qubits * encoded.rotation_layers}

    gradients = {"reverse": jax.value_and_grad(value), "adjoint": adjoint, "parameter_shift": parameter_shift}
    return Functions(value, gradients[method], outputs, work, "jit", value if method == "reverse" else None)
