"""The Born machine against a discriminator in PyTorch: autograd, or the circuit's part by hand; see ``adversarial``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from diffprog.circuits.states_torch import Data, probabilities
from diffprog.spec import Functions
from diffprog.tasks.qcbm import expert_adversarial, machine_torch, problem
from diffprog.tasks.qcbm.problem import QcbmConfig
from diffprog.tasks.torch_autograd import reverse


def build(config: QcbmConfig, method: str) -> Functions:
    """The variant's functions on tensors of one device; ``theta`` (P,) decides the precision."""
    n, hidden, count = config.qubits, config.hidden, problem.angles(config)

    def parts(theta: Tensor) -> tuple[Tensor, Tensor]:
        """The angles and the discriminator's weights."""
        return theta[:count], theta[count:]

    def activations(weights: Tensor, data: Data) -> Tensor:
        """Hidden units h (2ⁿ, hidden), of the bits as ±1."""
        w1 = weights[: hidden * n].unflatten(0, (hidden, n))
        return torch.tanh(data["spins"] @ w1.T + weights[hidden * n : hidden * (n + 1)])

    def logits(weights: Tensor, data: Data) -> Tensor:
        """The s (2ⁿ,) of D = σ(s)."""
        return activations(weights, data) @ weights[-hidden - 1 : -1] + weights[-1]

    def payoff(p: Tensor, weights: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        """L = Σ π ln D + Σ p ln(1 − D), and ln(1 − D) = ∂L/∂p."""
        s = logits(weights, data)
        q = logsigmoid(-s)
        return data["target"] @ logsigmoid(s) + p @ q, q

    def value(theta: Tensor, data: Data) -> Tensor:
        angles, weights = parts(theta)
        return payoff(machine_torch.distribution(config, angles, data), weights, data)[0]

    def taught(p: Tensor, weights: Tensor, data: Data) -> tuple[Tensor, Tensor, Tensor]:
        """L, ∂L/∂p, and ∂L/∂weights by autograd: the circuit is no part of the tape."""
        with torch.enable_grad():
            leaf = weights.detach().requires_grad_()
            loss, q = payoff(p, leaf, data)
            (weights_bar,) = torch.autograd.grad(loss, leaf)
        return loss.detach(), q.detach(), weights_bar

    def adjoint(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        """λ = q ∘ ψ; the gates are un-applied from ψ and λ together."""
        angles, weights = parts(theta.detach())
        psi, back = machine_torch.forwards(config, angles, data)
        loss, q, weights_bar = taught(probabilities(psi), weights, data)
        return loss, torch.cat([back(q * psi), weights_bar])

    def parameter_shift(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        """∂L/∂θ_k = ½ q · (p(θ + π/2 e_k) − p(θ − π/2 e_k))."""
        angles, weights = parts(theta.detach())
        loss, q, weights_bar = taught(machine_torch.distribution(config, angles, data), weights, data)
        return loss, torch.cat([machine_torch.shifted(config, angles, data, q) / 2, weights_bar])

    def outputs(theta: Tensor, data: Data) -> Data:
        angles, weights = parts(theta)
        p = machine_torch.distribution(config, angles, data)
        return {"distribution": p, "discriminator": torch.sigmoid(logits(weights, data))}

    def work(theta: Tensor, data: Data) -> dict[str, int]:
        angles, weights = parts(theta)
        units = activations(weights, data).numel()
        return machine_torch.work(config, angles, data, theta.numel()) | {"activations": units}

    gradients = {"reverse": reverse(value), "adjoint": adjoint, "parameter_shift": parameter_shift}
    if method != "reverse":
        return Functions(value, gradients[method], outputs, work, "eager")
    return Functions(value, gradients[method], outputs, work, "eager", value, expert=expert_adversarial.build(config))
