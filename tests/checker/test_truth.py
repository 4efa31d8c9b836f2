"""The checker refuses no true answer: PyTorch's and NumPy's, over methods, operators, sizes, seeds and precisions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffprog import tasks
from diffprog.backends import get
from diffprog.backends.base import Ask, Prepared
from diffprog.spec import Arrays, Case
from tests.checker import planted

SEEDS = {
    ("flow", "tiny"): 50, ("flow", "small"): 2, ("eigensolver", "tiny"): 60, ("eigensolver", "small"): 8,
    ("qcbm", "tiny"): 80, ("qcbm", "small"): 20, ("trg", "tiny"): 50, ("trg", "small"): 3,
    ("vqe", "tiny"): 40, ("vqe", "small"): 4, ("classifier", "tiny"): 20, ("classifier", "small"): 2,
}  # fmt: skip
"""Of each variant, by task and size, for the reference's method; fewer where each takes longer."""
OTHERS = {"tiny": 20, "small": 1}
"""Of the other methods and operators."""
WAYS = [
    (task, variant, size, method, operator)
    for task, size in SEEDS
    for variant in tasks.get(task).variants
    for method in tasks.get(task).methods
    for operator in ("gradient", "jvp", "hvp")
    if operator == "gradient" or method == tasks.get(task).reference_method(variant)
]


def returned(prepared: Prepared, operator: str) -> Arrays:
    """What a worker would return of a cell."""
    value, derivative = prepared.fetch(prepared.derivative())
    alone = prepared.fetch_value(prepared.value())
    arrays = {"value": np.asarray(value), "value_alone": np.asarray(alone), operator: np.asarray(derivative)}
    return arrays | prepared.outputs()


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # by torch.func.jvp
@pytest.mark.parametrize(("task", "variant", "size", "method", "operator"), WAYS)
def test_true_answers_are_not_refused(
    task: str, variant: str, size: str, method: str, operator: str, count: dict[str, int]
) -> None:
    pytest.importorskip("torch")
    names = ("torch", "numpy") if method != tasks.get(task).reference_method(variant) else ("torch",)
    backends = {(name, precision): _opened(name, precision) for name in names for precision in ("float64", "float32")}
    declared, refused, total = tasks.get(task), [], 0
    usual = operator == "gradient" and method == declared.reference_method(variant)
    for seed in range(100, 100 + (SEEDS[task, size] if usual else OTHERS[size])):
        case = Case(task, variant, size, seed)
        config = declared.configure(variant, size)
        inputs = declared.draw(config, seed)
        if declared.undefined(config, inputs):
            continue
        right = planted.answer(case, method=method, operator=operator)
        direction = right.inputs["directions"][0]
        for (name, precision), backend in backends.items():
            if (task, size, operator, precision) == ("trg", "small", "hvp", "float32"):
                continue  # of 2²⁰ sites PyTorch's has one digit left, which is rightly refused
            prepared = backend.prepare(task, config, method, dict(inputs), Ask(operator, "", direction))
            outcome, reason = planted.judged(right, returned(prepared, operator), precision, name)
            total += 1
            if outcome != "ok":
                refused.append(f"{name} {precision} {case.key}: {reason}")
    count |= {"true": total, "refused": len(refused)}
    assert total > 0
    assert refused == []


def _opened(name: str, precision: str) -> Any:
    backend = get(name)
    backend.open(precision, "cpu", 1)
    return backend
