"""The Born machine against a discriminator in JAX: reverse mode, or the circuit's part by hand; see ``adversarial``."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from diffprog.circuits.states_jax import probabilities
from diffprog.spec import Functions
from diffprog.tasks.qcbm import machine_jax, problem
from diffprog.tasks.qcbm.machine_jax import Data
from diffprog.tasks.qcbm.problem import QcbmConfig


def build(config: QcbmConfig, method: str) -> Functions:
    """The variant's functions on JAX arrays, all of them traceable in (theta, data)."""
    n, hidden, count = config.qubits, config.hidden, problem.angles(config)

    def parts(theta: Array) -> tuple[Array, Array]:
        """The angles and the discriminator's weights."""
        return theta[:count], theta[count:]

    def activations(weights: Array, data: Data) -> Array:
        """Hidden units h (2ⁿ, hidden), of the bits as ±1."""
        w1 = weights[: hidden * n].reshape(hidden, n)
        return jnp.tanh(data["spins"] @ w1.T + weights[hidden * n : hidden * (n + 1)])

    def logits(weights: Array, data: Data) -> Array:
        """The s (2ⁿ,) of D = σ(s)."""
        return activations(weights, data) @ weights[-hidden - 1 : -1] + weights[-1]

    def payoff(weights: Array, p: Array, data: Data) -> tuple[Array, Array]:
        """L = Σ π ln D + Σ p ln(1 − D), and ln(1 − D) = ∂L/∂p."""
        s = logits(weights, data)
        q = jax.nn.log_sigmoid(-s)
        return data["target"] @ jax.nn.log_sigmoid(s) + p @ q, q

    def value(theta: Array, data: Data) -> Array:
        angles, weights = parts(theta)
        return payoff(weights, machine_jax.distribution(config, angles, data), data)[0]

    taught = jax.value_and_grad(payoff, has_aux=True)
    """((L, ∂L/∂p), ∂L/∂weights): the circuit is no part of it."""

    def adjoint(theta: Array, data: Data) -> tuple[Array, Array]:
        """λ = q ∘ ψ; the gates are un-applied from ψ and λ together."""
        angles, weights = parts(theta)
        psi, back = machine_jax.forwards(config, angles, data)
        (loss, q), weights_bar = taught(weights, probabilities(psi), data)
        return loss, jnp.concatenate([back(q * psi), weights_bar])

    def parameter_shift(theta: Array, data: Data) -> tuple[Array, Array]:
        """∂L/∂θ_k = ½ q · (p(θ + π/2 e_k) − p(θ − π/2 e_k))."""
        angles, weights = parts(theta)
        (loss, q), weights_bar = taught(weights, machine_jax.distribution(config, angles, data), data)
        return loss, jnp.concatenate([machine_jax.shifted(config, angles, data, q) / 2, weights_bar])

    def outputs(theta: Array, data: Data) -> Data:
        angles, weights = parts(theta)
        p = machine_jax.distribution(config, angles, data)
        return {"distribution": p, "discriminator": jax.nn.sigmoid(logits(weights, data))}

    def work(theta: Array, data: Data) -> dict[str, int]:
        angles, weights = parts(theta)
        units = activations(weights, data).size
        return machine_jax.work(config, angles, data, theta.size) | {"activations": units}

    gradients = {"reverse": jax.value_and_grad(value), "adjoint": adjoint, "parameter_shift": parameter_shift}
    return Functions(value, gradients[method], outputs, work, "jit", value if method == "reverse" else None)
