"""The flow in PyTorch as an expert writes it: the loss and ``discrete``'s gradient by hand, few kernels on kept memory.

At each stage i the field is V_i = s_i A, with s = σ(x Wᵀ + b), A = diag(a) W and σ the logistic function or tanh; for
``quadratic`` it is s_i = x_i and A = S. A step of h from x₁ to y is RK4,

    x₂ = x₁ + (h/2) V₁,  x₃ = x₁ + (h/2) V₂,  x₄ = x₁ + h V₃,  y = x₁ + (h/6)(V₁ + 2(V₂ + V₃)) + (h/6) V₄,

the last product adding to what is there. With ȳ the cotangent of y, h u_i that of V_i, and r_i = h u_i ∂V_i/∂x and what
comes from the divergence,

    u₄ = ȳ/6,  u₃ = ȳ/3 + r₄,  u₂ = ȳ/3 + r₃/2,  u₁ = ȳ/6 + r₂/2,  x̄₁ = ȳ + r₄ + r₃ + r₂ + r₁.

The loss is a mean of terms ±∫∇²u |dt| and of terms in the last x. Hence ∇²u = Σ_j c_j σ'_j, c_j = a_j |w_j|², has one
cotangent for all samples, δ_i = ±|h|/6B times 1, 2, 2, 1, and the loss has κ·c in it, κ_j = Σ δ_i σ'_j over all stages
and samples. Within a stage r = z W, where

    z = σ' ∘ (h u Aᵀ + δ c σ''/σ'),  σ' = s − s², σ''/σ' = 1 − 2s (logistic);  σ' = 1 − s², σ''/σ' = −2s (tanh).

Parameters are left for the end of a step, when its 4B rows make one product each: P += Sᵀ(hU), Q += ZᵀX, b̄ += Σz. It is
added when it is ready: some BLAS add row after row to what is there: rounding would grow over the rows of all steps.
In the end W̄ = diag(a) P + Q + 2 diag(κ ∘ a) W and ā_j = P_j·w_j + κ_j |w_j|².
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffprog.spec import Expert
from diffprog.tasks.flow import targets
from diffprog.tasks.flow.field_torch import losses
from diffprog.tasks.flow.problem import VARIATIONAL, FlowConfig, layout
from diffprog.tasks.torch_memory import Kept

Data = dict[str, Tensor]
STAGES = (1, 2, 2, 1)
"""The stages' weights, in sixths of a step."""


class Hidden:
    """A layer of h units: logistic with biases (``density``), or tanh without (the variational variants)."""

    def __init__(self, config: FlowConfig, theta: Tensor, batch: int) -> None:
        self.logistic = config.variant not in VARIATIONAL
        blocks = theta.split([block.size for block in layout(config).blocks])
        self.w, self.a = blocks[0].view(config.hidden, config.dim), blocks[-1]
        self.b = blocks[1] if self.logistic else None
        self.w_t, self.out = self.w.T, self.a[:, None] * self.w
        self.norm2 = (self.w * self.w).sum(dim=1)
        self.c, self.one = self.a * self.norm2, theta.new_ones(())
        self.step, self.weight = config.step, abs(config.step) / (6 * batch)
        self.sign = -1 if config.variant in VARIATIONAL else 1
        self.total = theta.new_zeros(4, config.hidden)  # Σ σ' over samples and steps
        self.z = theta.new_empty(4, batch, config.hidden)  # of a step's stages, and what else is as large
        self.zs, self.rows = self.z.unbind(), self.z.view(4 * batch, config.hidden)

    def activations(self, x: Tensor, flat: Tensor) -> Tensor:
        """Where s goes, (steps, 4, B, h): in ``flat``, or in x itself."""
        return flat.view(-1, *self.z.shape)

    def activate(self, x: Tensor, s: Tensor) -> None:
        if self.b is None:
            torch.mm(x, self.w_t, out=s).tanh_()
        else:
            torch.addmm(self.b, x, self.w_t, out=s).sigmoid_()

    def diverge(self, s: Tensor) -> None:
        """Takes σ' at all stages of a step into the total; s is (4, B, h)."""
        torch.addcmul(s if self.logistic else self.one, s, s, value=-1, out=self.z)
        self.total.add_(self.z.sum(dim=1))

    def integral(self) -> Tensor:
        """The mean of ∫∇²u |dt|."""
        return self.kappa() @ self.c

    def kappa(self) -> Tensor:
        """Σ |h|/6B (1, 2, 2, 1) σ', without the sign: (h,)."""
        first, second, third, fourth = self.total.unbind()
        return (first + fourth).add_(second + third, alpha=2).mul_(self.weight)

    def start_back(self) -> None:
        self.back, self.into = self.w, (self.step * self.out).T
        self.pull_c = self.c * (self.sign * self.weight)
        self.turn = self.pull_c * -2
        self.through = torch.ops.aten.sigmoid_backward if self.logistic else torch.ops.aten.tanh_backward
        self.p, self.q, self.product = self.w.new_zeros(3, *self.w.shape)
        self.b_bar, self.sum = self.a.new_zeros(2, len(self.a))
        self.ones = self.a.new_ones(len(self.rows))

    def prepare(self, s: Tensor) -> None:
        """What z has before its product at all stages of a step."""
        self.diverge(s)
        if self.logistic:
            torch.addcmul(self.pull_c, s, self.turn, out=self.z)
        else:
            torch.mul(s, self.turn, out=self.z)

    def pull(self, stage: int, u: Tensor, s: Tensor) -> Tensor:
        """The z (B, h) of a stage."""
        z = self.zs[stage].addmm_(u, self.into, beta=STAGES[stage])
        self.through.grad_input(z, s, grad_input=z)  # times σ'(s), in one pass
        return z

    def accumulate(self, s_t: Tensor, u: Tensor, x: Tensor) -> None:
        """What a step adds to the parameters' cotangents: sᵀ (h, 4B), u and x (4B, d)."""
        z_t = self.rows.T
        self.p.add_(torch.mm(s_t, u, out=self.product))
        self.q.add_(torch.mm(z_t, x, out=self.product))
        if self.logistic:
            self.b_bar.add_(torch.mv(z_t, self.ones, out=self.sum))

    def theta_bar(self) -> Tensor:
        p, kappa = self.p.mul_(self.step), self.kappa().mul_(self.sign)
        a_bar = (p * self.w).sum(dim=1) + kappa * self.norm2
        w_bar = self.q.addcmul_(p, self.a[:, None]).addcmul_(self.w, (kappa * self.a)[:, None], value=2)
        biases = (self.b_bar,) if self.logistic else ()
        return torch.cat([w_bar.view(-1), *biases, a_bar])


class Linear:
    """V = xS, S = (A + Aᵀ)/2 (``quadratic``): what the layer takes and gives are one and the same."""

    def __init__(self, config: FlowConfig, theta: Tensor, batch: int) -> None:
        a = theta.view(config.dim, config.dim)
        self.out, self.step, self.time = (a + a.T) / 2, config.step, abs(config.step) * config.steps

    def activations(self, x: Tensor, flat: Tensor) -> Tensor:
        return x[: len(x) // 4 * 4].unflatten(0, (-1, 4))

    def activate(self, x: Tensor, s: Tensor) -> None:
        pass

    def diverge(self, s: Tensor) -> None:
        pass

    def integral(self) -> Tensor:
        return self.out.trace() * self.time

    def start_back(self) -> None:
        self.back = self.step * self.out
        self.s_bar, self.product = self.out.new_zeros(2, *self.out.shape)

    def prepare(self, s: Tensor) -> None:
        pass

    def pull(self, stage: int, u: Tensor, s: Tensor) -> Tensor:
        return u

    def accumulate(self, s_t: Tensor, u: Tensor, x: Tensor) -> None:
        self.s_bar.add_(torch.mm(s_t, u, out=self.product))

    def theta_bar(self) -> Tensor:
        s_bar = self.s_bar.mul_(self.step)
        s_bar.diagonal().add_(self.time)
        return ((s_bar + s_bar.T) / 2).view(-1)


Field = Hidden | Linear


def carry(config: FlowConfig, field: Field, x: Tensor, s: Tensor, *, diverge: bool) -> Tensor:
    """Fills x (stages + 1, B, d), whose first is given, and s (…, 4, B, h); returns the last x.

    Where there is memory for fewer stages than there are, it is used again and again.
    """
    h, xs = config.step, x.unbind()
    v1, v2, v3 = torch.empty_like(x[:3]).unbind()
    stages = [(one, *one.unbind()) for one in s.unbind()]
    for step in range(config.steps):
        x1, x2, x3, x4, y = (xs[(4 * step + stage) % len(xs)] for stage in range(5))
        every, s1, s2, s3, s4 = stages[step % len(stages)]
        field.activate(x1, s1)
        field.activate(torch.add(x1, torch.mm(s1, field.out, out=v1), alpha=h / 2, out=x2), s2)
        field.activate(torch.add(x1, torch.mm(s2, field.out, out=v2), alpha=h / 2, out=x3), s3)
        field.activate(torch.add(x1, torch.mm(s3, field.out, out=v3), alpha=h, out=x4), s4)
        torch.add(x1, v1.add_(v2.add_(v3), alpha=2), alpha=h / 6, out=y).addmm_(s4, field.out, alpha=h / 6)
        if diverge:
            field.diverge(every)
    return y


def terminal_slope(config: FlowConfig, x: Tensor, data: Data) -> Tensor:
    """The gradient of a sample's loss with respect to its last x, (B, d), as new memory; see ``targets``."""
    if config.variant not in VARIATIONAL:
        return x.clone()
    if config.variant == "ising":
        return (x @ data["inverse_coupling"]).sub_(x.tanh())
    if config.variant == "ring":
        radius = (x * x).sum(dim=1, keepdim=True).sqrt_()
        return x * ((radius - targets.RADIUS) * (2 / targets.RING) / radius)
    return (2 * x).add_(x.flip(1), alpha=targets.SKEW)


def pull_back(config: FlowConfig, field: Field, x: Tensor, s: Tensor, y_bar: Tensor) -> None:
    """Carries the loss's cotangent of the last x back to the first, in place; the field adds up those of parameters."""
    field.start_back()
    u = torch.empty_like(x[:4])
    (u1, u2, u3, u4), all_u = u.unbind(), u.flatten(0, 1)
    r2, r3, r4, third = torch.empty_like(u).unbind()
    all_x = x[:-1].unflatten(0, (config.steps, -1)).flatten(1, 2).unbind()
    stages, s_t = [(one, *one.unbind()) for one in s.unbind()], s.flatten(1, 2).mT.unbind()
    for step in reversed(range(config.steps)):
        every, s1, s2, s3, s4 = stages[step]
        field.prepare(every)
        torch.mul(y_bar, 1 / 3, out=third)
        torch.mm(field.pull(3, torch.mul(y_bar, 1 / 6, out=u4), s4), field.back, out=r4)
        torch.mm(field.pull(2, torch.add(third, r4, out=u3), s3), field.back, out=r3)
        torch.mm(field.pull(1, torch.add(third, r3, alpha=1 / 2, out=u2), s2), field.back, out=r2)
        z1 = field.pull(0, torch.add(u4, r2, alpha=1 / 2, out=u1), s1)
        y_bar.add_(r4.add_(r3).add_(r2)).addmm_(z1, field.back)
        field.accumulate(s_t[step], all_u, all_x[step])


def make_field(config: FlowConfig, theta: Tensor, data: Data) -> Field:
    return (Linear if config.variant == "quadratic" else Hidden)(config, theta, len(data["data"]))


def loss_of(config: FlowConfig, field: Field, y: Tensor, data: Data) -> Tensor:
    return losses(config, y, field.integral(), data).mean()


def build(config: FlowConfig) -> Expert:
    kept = Kept()

    def value(theta: Tensor, data: Data) -> Tensor:
        field, noise = make_field(config, theta, data), data["data"]
        x = noise.new_empty(8, *noise.shape)
        x[0].copy_(noise)
        s = field.activations(x, noise.new_empty(8 * len(noise) * config.hidden))
        y = carry(config, field, x, s, diverge=True)
        return loss_of(config, field, y, data)

    def gradient(theta: Tensor, data: Data) -> tuple[Tensor, Tensor]:
        field, noise = make_field(config, theta, data), data["data"]
        stages, (batch, dim) = 4 * config.steps, noise.shape
        cut = (stages + 1) * batch * dim
        with kept.lent((cut + stages * batch * config.hidden,), noise) as flat:
            x = flat[:cut].view(stages + 1, batch, dim)
            x[0].copy_(noise)
            s = field.activations(x, flat[cut:])
            y = carry(config, field, x, s, diverge=False)
            pull_back(config, field, x, s, terminal_slope(config, y, data).div_(batch))
            return loss_of(config, field, y, data), field.theta_bar()

    return Expert(value, gradient)
