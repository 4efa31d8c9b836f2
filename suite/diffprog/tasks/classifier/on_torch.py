"""Circuits that classify in PyTorch, eager: autograd, gates un-applied by hand, or batches of shifted circuits.

Shapes as in ``circuits.states``: states are (..., B, 2ⁿ), complex, and all samples go through the circuit together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from diffprog.circuits import tables
from diffprog.circuits.states_torch import Data, by_shifts, entangle, evolve, layers_of, rotate
from diffprog.spec import Functions
from diffprog.tasks.classifier import samples_torch as samples
from diffprog.tasks.classifier.problem import ClassifierConfig
from diffprog.tasks.torch_autograd import reverse


def build(config: ClassifierConfig, method: str) -> Functions:
    """The task's functions on tensors of one device; ``theta`` (P,) decides the precision."""

    def likelihoods(theta: Tensor, data: Data) -> Tensor:
        states = samples.final(config, theta, data[config.source], data["permutation"])
        return samples.likelihood(states, data["labels"])

    def value(theta: Tensor, data: Data) -> Tensor:
        return -likelihoods(theta, data).log().mean()

    def adjoint(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        """Un-applies the gates from ψ and λ = −(w/ℓB) ∘ ψ together, (2, B, 2ⁿ); dL = 2 Re <λ|dψ>."""
        theta, given, gather = theta.detach(), data[config.source], data["permutation"]
        psi = samples.final(config, theta, given, gather)
        likely = samples.likelihood(psi, data["labels"])
        scale = -samples.weights(data["labels"]) / (likely * len(likely)).unsqueeze(-1)
        bar = (scale.unsqueeze(-1) * samples.halves(psi)).flatten(-2)
        gradient = samples.swept(config, theta, given, gather, torch.stack([psi, bar]))
        return -likely.log().mean(), gradient

    def parameter_shift(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        """dℓ/dθ_k = ½(ℓ(θ + π/2 e_k) − ℓ(θ − π/2 e_k)), and dL = −mean dℓ/ℓ. A chunk of batches at a time."""
        theta = theta.detach()
        likely = likelihoods(theta, data)

        def slope(above: Tensor, below: Tensor) -> Tensor:
            plus, minus = likelihoods(torch.cat([above, below]), data).chunk(2)
            return -((plus - minus) / (2 * likely)).mean(dim=-1)

        pairs = tables.circuits_at_once(config.qubits, config.depth, theta.element_size(), len(likely)) // 2
        return -likely.log().mean(), by_shifts(slope, theta, pairs)

    def outputs(theta: Tensor, data: Data) -> Data:
        known, unseen = (data[name] for name in (config.source, f"held_{config.source}"))
        chances = [samples.chances(samples.final(config, theta, x, data["permutation"]))[:, 0] for x in (known, unseen)]
        return {"probabilities": chances[0], "held_out": chances[1]}

    def work(theta: Tensor, data: Data) -> dict[str, int]:
        tally, encoded, given, gather = tables.Tally(), tables.Tally(), data[config.source], data["permutation"]
        rotations = samples.rotating(config, given, encoded.rotating(rotate))
        layers, begun = layers_of(samples.table_of(config, theta)), samples.start(config, given)
        states = evolve(layers, gather, tally.rotating(rotations), tally.entangling(entangle), begun)
        cnots = np.asarray(data["cnots"].cpu())
        found = tally.work(theta.numel(), theta.numel(), cnots, np.asarray(gather.cpu())) | {"samples": len(states)}
        return found if config.uploads_images else found | {"encodings": 2 * config.qubits * encoded.rotation_layers}

    gradients: dict[str, Callable[[Tensor, Data], tuple[Tensor, Tensor]]]
    gradients = {"reverse": reverse(value), "adjoint": adjoint, "parameter_shift": parameter_shift}
    return Functions(value, gradients[method], outputs, work, "eager", value if method == "reverse" else None)
