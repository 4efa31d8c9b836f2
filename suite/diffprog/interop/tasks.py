"""The suite's own tasks as Julia functions of θ."""

from __future__ import annotations

import dataclasses

import numpy as np

from diffprog import tasks
from diffprog.interop.function import JuliaFunction
from diffprog.run import files
from diffprog.run.plan import check_names
from diffprog.spec import SIZES, Array


def task_function(task: str, variant: str | None, size: str, method: str | None, seed: int) -> JuliaFunction:
    """θ ↦ L(θ) of one case; see `diffprog.interop.task_function`."""
    check_names("task", [task], tasks.NAMES)
    check_names("size", [size], SIZES)
    chosen = tasks.get(task)
    chosen.check(variant=variant, method=method)
    variant = variant or chosen.variants[0]
    config = chosen.configure(variant, size)
    data: dict[str, Array | float | int | str] = {
        "task": task,
        "method": method or chosen.reference_method(variant),
    }
    for name, value in dataclasses.asdict(config).items():
        data[f"config__{name}"] = value
    with files.one_thread():
        drawn = chosen.draw(config, seed)
    for name, array in drawn.items():
        if name != "params":
            data[f"data__{name}"] = np.ascontiguousarray(array)
    return JuliaFunction("flat -> scalar_task(case_problem(flat))", data)
