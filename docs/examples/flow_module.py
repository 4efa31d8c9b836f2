"""An ODE flow written in Julia (flow.jl) inside a torch.nn.Module: it learns the density of two moons.

Its input is scaled and shifted by PyTorch, so gradients go through Julia to θ and through Julia to what is before it.

    python docs/examples/flow_module.py [--steps 200] [--route worker|in_process] [--picture density.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import make_moons

from diffprog.interop import JuliaFunction, torch_op

FLOW = JuliaFunction.from_file(Path(__file__).with_name("flow.jl"), "flow")


class JuliaFlow(torch.nn.Module):
    """ln p of data (B, d): an affine layer of PyTorch, then the flow of Julia with ``hidden`` units."""

    def __init__(self, dim: int, hidden: int, route: str) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(dim, dtype=torch.float64))
        self.shift = torch.nn.Parameter(torch.zeros(dim, dtype=torch.float64))
        self.theta = torch.nn.Parameter(0.5 * torch.randn(hidden * (dim + 2), dtype=torch.float64))
        self.flow = torch_op(FLOW, route=route)

    def forward(self, x: Any) -> Any:
        _, log_p = self.flow(self.theta, x * self.scale + self.shift)
        return log_p + self.scale.abs().log().sum()


def train(steps: int, route: str) -> tuple[JuliaFlow, list[float], Any]:
    """The module, its loss (nats) before each step, and the data (B, 2)."""
    torch.manual_seed(0)
    x = torch.from_numpy(make_moons(256, noise=0.08, random_state=0)[0])
    model = JuliaFlow(2, 32, route)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for step in range(steps):
        optimiser.zero_grad()
        loss = -model(x).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if step % max(1, steps // 5) == 0:
            print(f"step {step:>4}  loss {loss.item():.6f} nats  |dL/dscale| {model.scale.grad.norm():.3f}")
    print(f"step {steps:>4}  loss {-model(x).mean().item():.6f} nats")
    return model, losses, x


def draw(model: JuliaFlow, x: Any, path: Path) -> None:
    """The data, and the density that was learned."""
    from matplotlib.figure import Figure

    across, up = torch.linspace(-1.6, 2.6, 120, dtype=torch.float64), torch.linspace(-1.2, 1.7, 90, dtype=torch.float64)
    grid = torch.cartesian_prod(across, up)
    with torch.no_grad():
        density = model(grid).exp().reshape(len(across), len(up)).T
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.pcolormesh(across, up, density, cmap="Blues", shading="gouraud")
    axes.scatter(*x.T, s=4, color="#D55E00")
    axes.set(title="Two moons, and the density that a Julia flow in a torch module has learned", aspect="equal")
    figure.savefig(path, dpi=150)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--route", choices=("worker", "in_process"), default="worker")
    options.add_argument("--picture", type=Path)
    asked = options.parse_args()
    model, _, x = train(asked.steps, asked.route)
    if asked.picture is not None:
        draw(model, x, asked.picture)


if __name__ == "__main__":
    main()
