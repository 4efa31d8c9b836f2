"""The judge is judged: planted errors are caught, true gradients are not refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from diffprog import tasks
from diffprog.agree import errors, granularity, verdict
from diffprog.agree.rounding import Noise
from diffprog.records.cells import Memory, Seconds
from diffprog.records.protocol import Result
from diffprog.run.plan import by_hand
from diffprog.spec import Array, Arrays, Case, Cell

CASES = [Case(name, variant, "tiny", 0) for name in tasks.NAMES for variant in tasks.get(name).variants]
FIRST = Case("flow", "density", "tiny", 0)


def truth(case: Case) -> tuple[Arrays, Result]:
    task = tasks.get(case.task)
    config = task.configure(case.variant, case.size)
    functions = tasks.functions(case.task, "numpy", config, task.reference_method(case.variant))
    data = task.draw(config, case.seed)
    theta = data.pop("params")
    value, gradient = functions.gradient(theta, data)
    work = functions.work(theta, data)
    return {"value": np.asarray(value), "gradient": gradient}, Result(float(value), work, Seconds(), Memory())


def judge(case: Case, arrays: Arrays, result: Result, cell: Cell | None = None) -> tuple[str, str]:
    task = tasks.get(case.task)
    config = task.configure(case.variant, case.size)
    right, _ = truth(case)
    data = task.draw(config, case.seed)
    yardstick = verdict.Yardstick(
        by_hand(case).key, float(right["value"]), right["gradient"], exact=task.closed_form(config, data)
    )
    cell = cell or tasks.cell(case, "torch", task.methods[0], "gradient", "float64", "cpu")
    outcome, reason, _ = verdict.judge(task, cell, config, arrays, result, yardstick)
    return outcome, reason


def one_component(gradient: Array, change: Callable[[float], float]) -> Array:
    planted = gradient.copy()
    largest = int(np.abs(gradient).argmax())
    planted[largest] = change(planted[largest])
    return planted


PLANTED: dict[str, Callable[[Array], Array]] = {
    "wrong sign": lambda g: -g,
    "dropped term": lambda g: one_component(g, lambda x: 0.0),
    "1e-6 in one component": lambda g: one_component(g, lambda x: x * (1 + 1e-6)),
    "swapped parameters": lambda g: g[::-1].copy(),
    "NaN": lambda g: one_component(g, lambda x: np.nan),
    "Inf": lambda g: one_component(g, lambda x: np.inf),
    "wrong dtype": lambda g: g.astype(np.float32),
    "silent float32": lambda g: g.astype(np.float32).astype(np.float64),
    "wrong size": lambda g: g[:-1],
    "wrong shape": lambda g: g[:, None],
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
@pytest.mark.parametrize("name", PLANTED)
def test_planted_errors_are_caught(case: Case, name: str) -> None:
    arrays, result = truth(case)
    planted = PLANTED[name](arrays["gradient"])
    if planted.dtype == arrays["gradient"].dtype and np.array_equal(planted, arrays["gradient"]):
        pytest.skip("no error in this gradient: a single parameter cannot be swapped")
    outcome, reason = judge(case, arrays | {"gradient": planted}, result)
    assert outcome == "disagrees"
    assert reason


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_the_truth_is_ok(case: Case) -> None:
    arrays, result = truth(case)
    assert judge(case, arrays, result) == ("ok", "")


def test_a_wrong_value_and_missing_work_are_caught() -> None:
    arrays, result = truth(FIRST)
    outcome, reason = judge(FIRST, arrays | {"value": arrays["value"] * (1 + 1e-9)}, result)
    assert outcome == "disagrees"
    assert "the value is off" in reason
    short = Result(result.value, result.invariants | {"rhs_evaluations": 39}, Seconds(), Memory())
    outcome, reason = judge(FIRST, arrays, short)
    assert outcome == "disagrees"
    assert "rhs_evaluations is 39 where the task demands 40" in reason


def test_float32_is_judged_by_the_references_own_error() -> None:
    case = FIRST
    task = tasks.get(case.task)
    cell = tasks.cell(case, "jax", task.methods[0], "gradient", "float32", "cpu")
    g = np.ones(4)
    loose = verdict.Yardstick("k", 1.0, g, float32_error=1e-3)
    tight = verdict.Yardstick("k", 1.0, g, float32_error=1e-9)
    assert verdict.tolerance(task, cell, None, loose) == pytest.approx(1e-2)
    assert verdict.tolerance(task, cell, None, tight) == verdict.FLOAT32_FLOOR


def test_a_task_may_set_a_floor_under_the_float32_tolerance() -> None:
    """It loosens what a lucky reference would demand, never float64, and never what an unlucky one allows."""
    case = FIRST
    task = replace(tasks.get(case.task), float32_floor=3e-4)
    single, double = (tasks.cell(case, "jax", task.methods[0], "gradient", p, "cpu") for p in ("float32", "float64"))
    lucky, unlucky = (verdict.Yardstick("k", 1.0, np.ones(4), float32_error=error) for error in (1e-9, 1e-3))
    assert verdict.tolerance(task, single, None, lucky) == 3e-4
    assert verdict.tolerance(task, single, None, unlucky) == pytest.approx(1e-2)
    assert verdict.tolerance(task, double, None, lucky) == task.tolerance < 1e-9


def test_finite_differences_that_contradict_the_reference_are_told() -> None:
    case = FIRST
    task = tasks.get(case.task)
    arrays, result = truth(case)
    contradicted = Result(
        result.value,
        result.invariants,
        Seconds(),
        Memory(),
        finite_differences=1e-5,
        finite_differences_tolerance=1e-9,
    )
    config = task.configure(case.variant, case.size)
    outcome, reason, _ = verdict.judge(task, by_hand(case), config, arrays, contradicted, None)
    assert outcome == "disagrees"
    assert "finite differences" in reason


def test_an_approximate_method_is_judged_by_its_own_error() -> None:
    case = Case("flow", "quadratic", "tiny", 0)
    task = tasks.get("flow")
    config = task.configure("quadratic", "tiny")
    exact = verdict.Yardstick("k", 1.0, np.ones(4), float32_error=1e-9)
    assert task.approximation is not None
    inputs = task.draw(config, 0)
    made = {method: task.approximation(config, method, inputs) for method in task.approximating}

    def allowed(method: str, precision: str) -> float:
        by = replace(exact, approximation=made.get(method))
        return verdict.tolerance(task, tasks.cell(case, "jax", method, "gradient", precision, "cpu"), config, by)

    assert allowed("checkpointed", "float64") == task.tolerance
    assert allowed("backsolve", "float64") == task.tolerance
    assert allowed("backsolve", "float32") == verdict.FLOAT32_FLOOR
    for precision in ("float64", "float32"):
        assert allowed("library", precision) == made["library"].allowed[precision].gradient > task.tolerance


def test_an_adaptive_solver_owes_no_counts() -> None:
    case = Case("flow", "quadratic", "tiny", 0)
    task = tasks.get("flow")
    config = task.configure("quadratic", "tiny")
    arrays = {"value": np.asarray(1.0), "gradient": np.ones(4)}
    yardstick = verdict.Yardstick("k", 1.0, np.ones(4))
    counts = {"parameters": 4, "adaptive_evaluations": 41}
    for method, outcome in (("library", "ok"), ("discrete", "disagrees")):
        cell = tasks.cell(case, "jax", method, "gradient", "float64", "cpu")
        found = verdict.judge(task, cell, config, arrays, Result(1.0, counts, Seconds(), Memory()), yardstick)
        assert found[0] == outcome
    wrong = Result(1.0, counts | {"parameters": 5}, Seconds(), Memory())
    cell = tasks.cell(case, "jax", "library", "gradient", "float64", "cpu")
    assert verdict.judge(task, cell, config, arrays, wrong, yardstick)[0] == "disagrees"


def test_what_a_method_approximates_is_known_from_the_case_at_hand() -> None:
    """A steep field has a larger error; the reference's own backsolve is O(ε⁴) from the discrete gradient in either."""
    task, config = tasks.get("flow"), tasks.get("flow").configure("quadratic", "tiny")
    assert task.approximation is not None
    allowed, away = [], []
    for seed in (0, 2, 14):
        inputs = task.draw(config, seed)
        data = dict(inputs)
        theta = data.pop("params")
        _, discrete = tasks.functions("flow", "numpy", config, "discrete").gradient(theta, data)
        found = task.approximation(config, "backsolve", inputs)
        away.append(errors.relative(found.gradient, discrete))
        assert 1e-10 < away[-1] <= found.distance < 2e-3
        allowed.append(task.approximation(config, "library", inputs).allowed["float64"].gradient)
    assert away == sorted(away) and away[-1] > 1e-5
    assert allowed == sorted(allowed) and allowed[0] < 2e-6


def test_float32_in_a_float64_cell_is_named_whatever_the_tolerance() -> None:
    case = Case("flow", "ising", "tiny", 0)
    right, _ = truth(case)
    rng = np.random.default_rng(0)
    y = right["gradient"]
    near = y * (1 + 1e-9 * rng.standard_normal(y.size))  # another approximation, in float64
    assert granularity.rounded(near, y).size == 0
    single = near.astype(np.float32).astype(np.float64)
    assert granularity.rounded(single, y).size > y.size / 2
    part = np.where(np.arange(y.size) % 5 == 0, single, near)
    assert set(granularity.rounded(part, y)) <= set(range(0, y.size, 5))
    assert granularity.rounded(part, y).size > 2
    for precision in ("float16", "float32"):
        assert granularity.rounded(y.astype(precision).astype(np.float64), y).size


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.array([0.5, 0.25, 1.0]), np.array([0.5, 0.25, 1.0])),  # exact in either
        (np.array([1.0, 1.0]), np.array([1 - 2.0**-53, 1 - 2.0**-52])),  # exact where the other is off by a rounding
        (np.zeros(3), np.array([1e-17, 0.0, 1e-18])),
        (np.array([2.0**-50, 1 / 3]), np.array([3e-16, 1 / 3])),  # noise: a difference has few bits
        (np.zeros(0), np.zeros(0)),
    ],
)
def test_numbers_that_happen_to_have_few_bits_are_not_called_float32(x: Array, y: Array) -> None:
    assert granularity.rounded(x, y).size == 0


def test_an_ill_conditioned_case_is_allowed_what_rounding_does_to_it_and_no_more() -> None:
    case = FIRST
    task = tasks.get(case.task)
    config = task.configure(case.variant, case.size)
    arrays, result = truth(case)
    cell = tasks.cell(case, "torch", task.methods[0], "gradient", "float64", "cpu")
    quiet = verdict.Yardstick("k", float(arrays["value"]), arrays["gradient"])
    noisy = replace(quiet, noise=lambda: Noise(derivative=1e-10))
    for scale, by, outcome in ((1e-9, quiet, "disagrees"), (1e-9, noisy, "ok"), (1e-8, noisy, "disagrees")):
        off = arrays | {"gradient": arrays["gradient"] * (1 + scale)}
        assert verdict.judge(task, cell, config, off, result, by)[0] == outcome


def test_a_second_derivatives_tolerance_is_not_the_values() -> None:
    case = Case("trg", "disordered", "tiny", 0)
    arrays, result = truth(case)
    task = tasks.get("trg")
    config = task.configure("disordered", "tiny")
    hvp = arrays["gradient"]
    cell = tasks.cell(case, "torch", "reverse", "hvp", "float64", "cpu")
    by = verdict.Yardstick("k", float(arrays["value"]), hvp)
    found = {"value": arrays["value"] + 1e-9, "hvp": hvp}
    outcome, reason, _ = verdict.judge(task, cell, config, found, result, by)
    assert outcome == "disagrees" and "the value is off" in reason


def test_arrays_that_are_missing_or_no_numbers_are_told() -> None:
    case = FIRST
    arrays, result = truth(case)
    assert judge(case, {"value": arrays["value"]}, result) == ("disagrees", "there is no array 'gradient'")
    assert judge(case, {"gradient": arrays["gradient"]}, result) == ("disagrees", "there is no array 'value'")
    outcome, reason = judge(case, arrays | {"value": np.asarray("1.0")}, result)
    assert outcome == "disagrees" and "no real number" in reason
