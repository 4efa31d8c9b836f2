"""The checker refuses no true gradient: PyTorch's and JAX's against the reference, over seeds, sizes and precisions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from suite import tasks
from suite.agree import errors, verdict
from suite.backends import get
from suite.measure.protocol import Result
from suite.records import Memory, Seconds
from suite.run.plan import reference_cell
from suite.spec import Case, Cell
from tests.checker import planted

SEEDS = {
    ("flow", "tiny"): 50, ("flow", "small"): 2, ("eigensolver", "tiny"): 60, ("eigensolver", "small"): 8,
    ("qcbm", "tiny"): 80, ("qcbm", "small"): 20, ("trg", "tiny"): 50, ("trg", "small"): 3,
}  # fmt: skip
"""Of each variant, by task and size; with two precisions 1,000 gradients in all, fewer where each takes longer."""


@pytest.mark.parametrize(("task", "size"), SEEDS)
def test_true_gradients_are_not_refused(task: str, size: str, count: dict[str, int]) -> None:
    pytest.importorskip("torch")
    backends = {precision: _opened("torch", precision) for precision in ("float64", "float32")}
    refused, total = [], 0
    for variant, seed in itertools.product(tasks.get(task).variants, range(100, 100 + SEEDS[task, size])):
        case = Case(task, variant, size, seed)
        inputs = tasks.get(task).draw(tasks.get(task).configure(variant, size), seed)
        if tasks.get(task).undefined(tasks.get(task).configure(variant, size), inputs):
            continue
        right, single = planted.answer(case), planted.answer(case, "float32")
        exact = right.task.closed_form(right.config, inputs)
        own = errors.compare(single.gradient, right.gradient).relative_l2
        yardstick = verdict.Yardstick("k", float(right.value), right.gradient, None, own, exact)
        for precision, backend in backends.items():
            cell = Cell(case, "torch", reference_cell(case).method, "gradient", precision, "cpu")
            prepared = backend.prepare(task, right.config, cell.method, dict(inputs))
            value, gradient = prepared.fetch(prepared.derivative())
            arrays = {"value": np.asarray(value), "gradient": gradient}
            result = Result(value, right.work, Seconds(), Memory())
            outcome, reason, _ = verdict.judge(right.task, cell, right.config, arrays, result, yardstick)
            total += 1
            if outcome != "ok":
                refused.append(f"{cell.name}: {reason}")
    count |= {"true": total, "refused": len(refused)}
    assert total > 0
    assert refused == []


def _opened(name: str, precision: str) -> Any:
    backend = get(name)
    backend.open(precision, "cpu", 1)
    return backend
