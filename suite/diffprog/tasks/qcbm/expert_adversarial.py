"""The Born machine against a discriminator as an expert writes it; see ``expert_torch`` and ``discriminator``.

D and 1 − D are the exponentials of ln D and ln(1 − D), which the loss needs. The hidden units are overwritten: by tanh,
and then by z̄ = r W2 ∘ (1 − h²).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from diffprog.circuits.states_torch import Data
from diffprog.spec import Expert
from diffprog.tasks.qcbm import problem
from diffprog.tasks.qcbm.expert_torch import Circuit
from diffprog.tasks.qcbm.problem import QcbmConfig


def build(config: QcbmConfig) -> Expert:
    n, hidden, count, circuit = config.qubits, config.hidden, problem.angles(config), Circuit(config)
    blocks = [count, hidden * n, hidden, hidden, 1]

    def forwards(weights: Sequence[Tensor], data: Data) -> tuple[Tensor, Tensor]:
        """Activations (2ⁿ, hidden) and logits (2ⁿ,)."""
        w1, b1, w2, b2 = weights
        units = torch.addmm(b1, data["spins"], w1.view(hidden, n).T).tanh_()
        return units, torch.addmv(b2.expand(len(units)), units, w2)

    def payoff(s: Tensor, p: Tensor, data: Data) -> tuple[Tensor, Tensor, Tensor]:
        """L, ln D and ln(1 − D)."""
        real, fake = logsigmoid(s), logsigmoid(-s)
        return torch.dot(data["target"], real) + torch.dot(p, fake), real, fake

    def value(theta: Tensor, data: Data) -> Tensor:
        angles, *weights = theta.split(blocks)

        def loss(p: Tensor, data: Data) -> Tensor:
            return payoff(forwards(weights, data)[1], p, data)[0]

        return circuit.value(angles, data, loss)

    def gradient(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        angles, *weights = theta.split(blocks)
        w2 = weights[2]

        def slopes(p: Tensor, data: Data) -> tuple[Tensor, Tensor, Tensor]:
            units, s = forwards(weights, data)
            loss, real, fake = payoff(s, p, data)
            r = fake.exp().mul_(data["target"]).addcmul_(p, real.exp_(), value=-1)
            w2_bar = units.T @ r
            z_bar = units.square_().neg_().add_(1).mul_(r.unsqueeze(-1)).mul_(w2)
            rest = [(z_bar.T @ data["spins"]).view(-1), z_bar.sum(dim=0), w2_bar, r.sum(dim=0, keepdim=True)]
            return loss, fake, torch.cat(rest)

        loss, angles_bar, weights_bar = circuit.gradient(angles, data, slopes)
        return loss, torch.cat([angles_bar, weights_bar])

    return Expert(value, gradient)
