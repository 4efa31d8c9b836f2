"""The Born machine against a discriminator: NumPy, every derivative by hand, the circuit's by one of three methods.

``discriminator`` has the loss and its equations. Of the circuit it takes p and gives back q = ∂L/∂p:

    reverse, adjoint    λ = q ∘ ψ is carried backwards, dL = 2 Re <λ|dψ>,
    parameter_shift     ∂L/∂θ_k = ½ Σ_x q(x) (p(θ + π/2 e_k) − p(θ − π/2 e_k)),

and for second derivatives λ̇ = q̇ ∘ ψ + q ∘ ψ̇, ṗ = 2 Re ψ*ψ̇; see ``circuits.second``.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from scipy.special import expit

from diffprog.circuits import second, tables
from diffprog.circuits.states import probabilities
from diffprog.spec import Array, Arrays, Functions
from diffprog.tasks.qcbm import discriminator, machine, problem
from diffprog.tasks.qcbm.discriminator import activations, cut, logits, payoff
from diffprog.tasks.qcbm.problem import QcbmConfig


def build(config: QcbmConfig, method: str) -> Functions:
    """The variant's functions on NumPy arrays; data are the arrays of ``problem.draw`` without ``params``."""
    n, depth, count = config.qubits, config.depth, problem.angles(config)
    slots = tables.angle_slots(n, depth)

    def logits_of(theta: Array, data: Arrays) -> Array:
        weights = cut(config, theta[count:])
        return logits(weights, activations(weights, data["spins"]))

    def value(theta: Array, data: Arrays) -> Array:
        p = machine.distribution(config, theta[:count], data)
        return payoff(logits_of(theta, data), p, data["target"])[0]

    def reverse(theta: Array, data: Arrays) -> tuple[Array, Array]:
        psi, back = machine.forwards(config, method, theta[:count], data)
        loss, q, weights_bar = discriminator.gradient(config, theta[count:], probabilities(psi), data)
        return loss, np.concatenate([back(q * psi), weights_bar])

    def parameter_shift(theta: Array, data: Arrays) -> tuple[Array, Array]:
        p = machine.distribution(config, theta[:count], data)
        loss, q, weights_bar = discriminator.gradient(config, theta[count:], p, data)
        return loss, np.concatenate([machine.shifted(config, theta[:count], data, q) / 2, weights_bar])

    def jvp(theta: Array, data: Arrays, v: Array) -> tuple[Array, Array]:
        """No state is kept."""
        along = second.path(n, depth, theta[:count], v[:count])
        ((psi, psi_dot),) = deque(second.evolve(along, data["permutation"]), maxlen=1)
        p, p_dot = probabilities(psi), 2 * (psi.conj() * psi_dot).real
        loss = payoff(logits_of(theta, data), p, data["target"])[0]
        return loss, discriminator.tangents(config, theta[count:], v[count:], p, p_dot, data).loss

    def hvp(theta: Array, data: Arrays, v: Array) -> tuple[Array, Array]:
        """ψ and ψ̇ of all layers are kept."""
        along, gather = second.path(n, depth, theta[:count], v[:count]), data["permutation"]
        kept = list(second.evolve(along, gather))
        psi, psi_dot = kept[-1]
        p, p_dot = probabilities(psi), 2 * (psi.conj() * psi_dot).real
        loss, q = payoff(logits_of(theta, data), p, data["target"])
        found = discriminator.tangents(config, theta[count:], v[count:], p, p_dot, data)
        product = second.sweep_back(along, gather, kept, q * psi, found.q * psi + q * psi_dot)
        return loss, np.concatenate([product.ravel()[slots], found.weights])

    def outputs(theta: Array, data: Arrays) -> Arrays:
        p = machine.distribution(config, theta[:count], data)
        return {"distribution": p, "discriminator": expit(logits_of(theta, data))}

    def work(theta: Array, data: Arrays) -> dict[str, int]:
        units = activations(cut(config, theta[count:]), data["spins"])
        return machine.work(config, theta[:count], data, theta.size) | {"activations": units.size}

    gradient = parameter_shift if method == "parameter_shift" else reverse
    if method != "reverse":
        return Functions(value, gradient, outputs, work, made_with="hand")
    return Functions(value, gradient, outputs, work, made_with="hand", jvp=jvp, hvp=hvp)
