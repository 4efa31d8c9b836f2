"""Planning: names, references, order, memory."""

from __future__ import annotations

import pytest

from diffprog import tasks
from diffprog.errors import UsageError
from diffprog.run import plan
from diffprog.spec import Case


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("task", {"tasks": ("flwo",)}),
        ("variant", {"variants": ("nope",)}),
        ("size", {"sizes": ("huge",)}),
        ("backend", {"backends": ("tensorflow",)}),
        ("method", {"methods": ("adjiont",)}),
        ("operator", {"operators": ("hessian",)}),
        ("precision", {"precisions": ("float16",)}),
        ("device", {"devices": ("tpu",)}),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(kind: str, asked: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(UsageError, match=f"there is no {kind} '.*'; there are: "):
        plan.cells(plan.Request(**asked))  # type: ignore[arg-type]


def test_a_variant_of_one_task_with_another_task_is_refused() -> None:
    with pytest.raises(UsageError, match="no variant 'gaussian'"):
        plan.cells(plan.Request(tasks=("flow",), variants=("gaussian",)))


def test_the_reference_is_added_and_comes_first() -> None:
    cells = plan.cells(plan.Request(tasks=("flow",), variants=("density",), backends=("jax",), precisions=("float32",)))
    case = Case("flow", "density", "tiny", 0)
    assert cells[:2] == [plan.reference_cell(case), plan.reference_cell(case, precision="float32")]
    assert {cell.backend for cell in cells[2:]} == {"jax"}


def test_a_value_is_asked_for_once() -> None:
    cells = plan.cells(plan.Request(tasks=("qcbm",), variants=("gaussian",), operators=("value",)))
    assert len([cell for cell in cells if cell.operator == "value"]) == 4  # backends, not backends times methods


def test_groups_share_a_worker_and_the_reference_leads() -> None:
    groups = list(plan.groups(plan.cells(plan.Request(precisions=("float32", "float64")))))
    keys = [(g.task, g.backend, g.device, g.precision) for g in groups]
    assert len(keys) == len(set(keys)) == 8 * len(tasks.NAMES)  # four backends in two precisions
    first = tasks.NAMES[0]
    assert keys[:3] == [
        (first, "numpy", "cpu", "float64"),
        (first, "numpy", "cpu", "float32"),
        (first, "torch", "cpu", "float64"),
    ]


def test_what_would_not_fit_is_refused_before_it_starts() -> None:
    cells = plan.cells(plan.Request(tasks=("flow",), sizes=("tiny", "large")))
    with pytest.raises(UsageError, match=r"large.* needs about .* GiB and 1.0 GiB are there"):
        plan.check_memory(cells, limit=2**30)
    plan.check_memory(plan.cells(plan.Request(sizes=("tiny",))), limit=2**30)
