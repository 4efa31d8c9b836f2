"""The checker catches planted errors: every one of them, in every task."""

from __future__ import annotations

import numpy as np
import pytest

from diffprog import tasks
from diffprog.agree import verdict
from diffprog.records.cells import Memory, Seconds
from diffprog.records.protocol import Result
from diffprog.run.plan import by_hand
from diffprog.spec import Array, Arrays, Case
from diffprog.tasks.trg import network, second
from tests.checker import planted
from tests.checker.planted import Answer

CASES = [
    Case(name, variant, size, seed)
    for name in tasks.NAMES
    for variant in tasks.get(name).variants
    for size, seed in (("tiny", 0), ("tiny", 1), ("small", 0))
    if (name, size) != ("trg", "small")  # a quarter of a second each, and the same code
]


def caught(right: Answer, arrays: Arrays) -> bool:
    """Whether the checker refuses arrays in the place of the right ones."""
    return planted.judged(right, right.arrays | arrays)[0] == "disagrees"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_errors_in_answers_are_caught(case: Case, count: dict[str, int]) -> None:
    right = planted.answer(case)
    assert not caught(right, {})
    found = [(name, caught(right, wrong)) for name, plant in planted.IN_ANSWER.items() for wrong in plant(right)]
    count |= {"planted": len(found), "caught": sum(hit for _, hit in found)}
    assert [name for name, hit in found if not hit] == []


WAYS = [
    (case, method, operator)
    for case in CASES
    if case.size == "tiny" or case.task in ("qcbm", "vqe")
    for method in tasks.get(case.task).methods
    for operator in ("gradient", "jvp", "hvp")
    if operator == "gradient" or method == tasks.get(case.task).reference_method(case.variant)
]


@pytest.mark.parametrize(("case", "method", "operator"), WAYS, ids=lambda x: getattr(x, "key", x))
def test_errors_are_caught_in_every_method_and_operator(
    case: Case, method: str, operator: str, count: dict[str, int]
) -> None:
    right = planted.answer(case, method=method, operator=operator)
    assert planted.judged(right, right.arrays) == ("ok", "")
    found = [(name, caught(right, wrong)) for name, plant in planted.EVERYWHERE.items() for wrong in plant(right)]
    count |= {"planted": len(found), "caught": sum(hit for _, hit in found)}
    assert [name for name, hit in found if not hit] == []


def changes(x: Array, y: Array) -> bool:
    """Whether an answer is another one, beyond the rounding of a few operations in another order."""
    return x.shape != y.shape or not float(np.linalg.norm(x - y)) <= 1e-14 * float(np.linalg.norm(y))


MISTAKES = [
    pytest.param(task, old, new, id=f"{task}-{kind}-{index}".replace(" ", "_"))
    for task, kinds in planted.IN_CODE.items()
    for kind, pieces in kinds.items()
    for index, (old, new) in enumerate(pieces)
]


@pytest.mark.parametrize(("task", "old", "new"), MISTAKES)
def test_errors_in_code_are_caught(task: str, old: str, new: str, count: dict[str, int]) -> None:
    module, found = planted.mutant(task, old, new), []
    for variant in tasks.get(task).variants:
        right = planted.answer(Case(task, variant, "tiny", 0))
        functions = module.build(right.config, right.task.reference_method(variant))
        wrong = right.by(functions)
        # A variant whose code the piece is not in, or where symmetry makes it nothing, comes out the same.
        if changes(wrong["gradient"], right.gradient) or changes(wrong["value"], right.value):
            found.append(caught(right, wrong))
    count |= {"planted": len(found), "caught": sum(found)}
    assert found, "the piece of source is in no variant: this planted nothing"
    assert all(found)


@pytest.mark.parametrize("task", tasks.NAMES)
def test_work_that_was_not_done_is_caught(task: str, count: dict[str, int]) -> None:
    """Each work invariant one too low, with the right answer."""
    right = planted.answer(Case(task, tasks.get(task).variants[0], "tiny", 0))
    cell = by_hand(right.case)
    refused = []
    for name in right.work:
        result = Result(1.0, right.work | {name: right.work[name] - 1}, Seconds(), Memory())
        arrays = {"value": right.value, "gradient": right.gradient}
        outcome, reason, _ = verdict.judge(right.task, cell, right.config, arrays, result, None)
        refused.append(outcome == "disagrees" and name in reason)
    count |= {"planted": len(refused), "caught": sum(refused)}
    assert all(refused)


@pytest.mark.parametrize("variant", ["classic", "disordered"])
@pytest.mark.parametrize("operator", ["gradient", "hvp"])
def test_a_broadening_that_is_too_large_is_caught_in_the_derivative_alone(
    variant: str, operator: str, count: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand times the task's: 1e-10 of the gradient. Outputs, which would show it too, are the right ones."""
    found = []
    for seed in range(4):
        case = Case("trg", variant, "tiny", seed)
        right = planted.answer(case, operator=operator)
        with monkeypatch.context() as patch:
            for module in (network, second):
                patch.setattr(module, "ETA", 1e-9)
            wrong = planted.answer(case, operator=operator)
        found.append(caught(right, {operator: wrong.gradient}))
    count |= {"planted": len(found), "caught": sum(found)}
    assert all(found)
