"""Yao's Born machine, a Julia program, trained by torch.optim, by optax and by Julia itself: one learning curve.

python docs/examples/train_born_machine.py [--steps 50] [--route worker|in_process]
"""

from __future__ import annotations

import argparse
from typing import Any

import jax
import numpy as np
import optax
import torch

from diffprog import tasks
from diffprog.interop import JuliaFunction, jax_op, route, task_function, torch_op

RATE = 0.1


def start() -> Any:
    """The angles to start from, (P,)."""
    task = tasks.get("qcbm")
    return task.draw(task.configure("gaussian", "tiny"), 0)["params"]


def by_torch(function: JuliaFunction, steps: int, by: Any) -> list[float]:
    """The losses before each step of torch.optim.Adam."""
    loss_of = torch_op(function, route=by)
    theta = torch.nn.Parameter(torch.from_numpy(start()))
    optimiser = torch.optim.Adam([theta], lr=RATE)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = loss_of(theta)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def by_optax(function: JuliaFunction, steps: int, by: Any) -> list[float]:
    """The losses before each step of optax.adam, compiled."""
    loss_of = jax_op(function, route=by, result=lambda theta: jax.ShapeDtypeStruct((), theta.dtype))
    optimiser = optax.adam(RATE)

    @jax.jit
    def step(theta: Any, state: Any) -> Any:
        loss, slope = jax.value_and_grad(loss_of)(theta)
        updates, state = optimiser.update(slope, state)
        return loss, optax.apply_updates(theta, updates), state

    theta = jax.numpy.asarray(start())
    state = optimiser.init(theta)
    losses = []
    for _ in range(steps):
        loss, theta, state = step(theta, state)
        losses.append(float(loss))
    return losses


def by_julia(function: JuliaFunction, steps: int, by: Any) -> list[float]:
    """The losses before each step of Optimisers.Adam, all of them taken within one call to Julia."""
    training = f"""
        function (data)
            problem = case_problem(data)
            return function (theta, steps)
                descent = DiffProgTasks.adam(theta, {RATE})
                return [DiffProgTasks.step!(descent, problem, zero(theta)) for _ in 1:steps]
            end
        end"""
    loaded = by.load(JuliaFunction(training, function.data))
    return loaded.primal([start(), np.array(steps)])[0].tolist()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=50)
    options.add_argument("--route", choices=("worker", "in_process"), default="worker")
    asked = options.parse_args()
    jax.config.update("jax_enable_x64", True)
    by = route(asked.route, thread="own")  # in_process: XLA calls back from threads of its own
    function = task_function("qcbm", "gaussian")
    curves = {
        "julia alone": by_julia(function, asked.steps, by),
        "torch.optim": by_torch(function, asked.steps, by),
        "optax": by_optax(function, asked.steps, by),
    }
    print(f"{'step':>4}" + "".join(f"{name:>24}" for name in curves))
    for step in range(0, asked.steps, max(1, asked.steps // 5)):
        print(f"{step:>4}" + "".join(f"{losses[step]:>24.16g}" for losses in curves.values()))
    reference = np.array(curves["julia alone"])
    for name, losses in curves.items():
        print(f"{name}: largest relative difference {np.max(np.abs(np.array(losses) / reference - 1)):.1e}")


if __name__ == "__main__":
    main()
