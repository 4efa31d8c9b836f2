"""The Born machine in PyTorch, eager: autograd, gates un-applied by hand, or batches of shifted circuits.

Shapes as in ``circuits.states``: states are (..., 2ⁿ), complex, leading axes a batch.
"""

from __future__ import annotations

from torch import Tensor

from diffprog.circuits.states_torch import Data, probabilities
from diffprog.spec import Functions
from diffprog.tasks.qcbm import adversarial_torch, expert_torch, machine_torch
from diffprog.tasks.qcbm.kernel_torch import kernel_product
from diffprog.tasks.qcbm.problem import QcbmConfig
from diffprog.tasks.torch_autograd import reverse


def build(config: QcbmConfig, method: str) -> Functions:
    """The task's functions on tensors of one device; ``theta`` (P,) decides the precision."""
    return adversarial_torch.build(config, method) if config.hidden else discrepancies(config, method)


def discrepancies(config: QcbmConfig, method: str) -> Functions:
    """The loss is the maximum mean discrepancy."""

    def discrepancy(p: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        """L = qᵀKq and Kq, q = p − π."""
        q = p - data["target"]
        kq = kernel_product(config, data["sigmas"], q)
        return q @ kq, kq

    def value(theta: Tensor, data: Data) -> Tensor:
        return discrepancy(machine_torch.distribution(config, theta, data), data)[0]

    def adjoint(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        """Un-applies the gates from ψ and λ = (dL/dp) ∘ ψ together; dL = 2 Re <λ|dψ> = m · Im tr(σ R) dθ."""
        psi, back = machine_torch.forwards(config, theta.detach(), data)
        loss, kq = discrepancy(probabilities(psi), data)
        return loss, back(2 * kq * psi)

    def parameter_shift(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        """dL/dθ_k = (Kq) · (p(θ + π/2 e_k) − p(θ − π/2 e_k)), from 2P circuits."""
        theta = theta.detach()
        loss, kq = discrepancy(machine_torch.distribution(config, theta, data), data)
        return loss, machine_torch.shifted(config, theta, data, kq)

    def outputs(theta: Tensor, data: Data) -> Data:
        return {"distribution": machine_torch.distribution(config, theta, data)}

    def work(theta: Tensor, data: Data) -> dict[str, int]:
        return machine_torch.work(config, theta, data, theta.numel())

    gradients = {"reverse": reverse(value), "adjoint": adjoint, "parameter_shift": parameter_shift}
    if method != "reverse":
        return Functions(value, gradients[method], outputs, work, "eager")
    return Functions(value, gradients[method], outputs, work, "eager", value, expert=expert_torch.build(config))
