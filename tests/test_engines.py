"""Every operator by every engine: what is declared in ``diffprog.engines`` is what happens, in either direction."""

from __future__ import annotations

import pytest

from diffprog import tasks
from diffprog.backends import find_julia
from diffprog.engines import ENGINES, LIMITS
from diffprog.run import driver, plan
from diffprog.spec import BACKENDS, DEVICES, OPERATORS, PRECISIONS, Case, Limit
from tests.conftest import Runner

VARIANTS = {
    "flow": ("quadratic",),
    "eigensolver": ("spectrum",),
    "qcbm": ("gaussian",),
    "trg": ("classic",),
    "vqe": ("maxcut",),
    "classifier": ("digits",),
}
"""What compiles fastest; all of them with --thorough."""
LONG = {
    *(("jax", task) for task in ("trg", "qcbm", "vqe", "classifier")),
    *(("julia", task) for task in ("trg", "flow", "vqe", "classifier")),
}
"""A minute or more even so: with --thorough too. Their own tests have them, engine by engine."""
SLOW = ("compile", "mooncake")
"""Minutes of compilation: only with --thorough (nox -s engines)."""
PATIENCE = driver.Settings().time_limit
"""Seconds for one cell, as in ``diffprog run``: Mooncake compiles an hvp of trg for many minutes."""


@pytest.fixture(params=["numpy", "torch", "jax", pytest.param("julia", marks=pytest.mark.julia)])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "julia":
        request.getfixturevalue("julia")
    else:
        pytest.importorskip(name)
    return name


@pytest.mark.cross
@pytest.mark.parametrize("task", tasks.NAMES)
def test_what_is_declared_is_what_happens(run: Runner, backend: str, task: str, pytestconfig: pytest.Config) -> None:
    every = pytestconfig.getoption("--thorough")
    if (backend, task) in LONG and not every:
        pytest.skip("takes minutes to compile: tried with --thorough")
    chosen = tuple(name for name in ENGINES[backend] if every or name not in SLOW)
    request = plan.Request(
        tasks=(task,), variants=None if every else VARIANTS[task], backends=(backend,),
        methods=tuple({tasks.get(task).reference_method(variant) for variant in tasks.get(task).variants}),
        operators=OPERATORS, engines=chosen,
    )  # fmt: skip
    surprises = []
    julia = find_julia.find() if backend == "julia" else None
    for record in run(request, attempt=True, samples=0, julia=julia, time_limit=PATIENCE):
        declared = tasks.limit(record.cell)
        if record.outcome == "unavailable" and record.mend:
            continue  # an engine that is not installed, with the command that mends it
        if bool(declared) == (record.outcome == "ok"):
            surprises.append(
                f"{record.cell.name}: {record.outcome}: {record.reason or 'works, but is declared not to'}"
            )
    assert surprises == []


ALL_LIMITS = (*LIMITS, *(limit for name in tasks.NAMES for limit in tasks.get(name).limits))


@pytest.mark.parametrize("limit", ALL_LIMITS, ids=lambda one: f"{one.backend}-{one.engine}-{'-'.join(one.operators)}")
def test_limits_name_what_there_is_and_why(limit: Limit) -> None:
    assert limit.engine in ENGINES[limit.backend]
    assert set(limit.operators) <= set(OPERATORS)
    assert set(limit.variants) <= {variant for name in tasks.NAMES for variant in tasks.get(name).variants}
    assert set(limit.devices) <= set(DEVICES)
    assert set(limit.methods) <= {method for name in tasks.NAMES for method in tasks.get(name).methods}
    assert set(limit.precisions) <= set(PRECISIONS)
    assert len(limit.reason) > 20


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", tasks.NAMES)
def test_every_operator_has_an_engine_that_can(backend: str, task: str) -> None:
    for operator in OPERATORS:
        usual = tasks.engine(backend, task, operator)
        assert usual in ENGINES[backend]
        for variant in tasks.get(task).variants:
            cell = tasks.cell(Case(task, variant, "tiny", 0), backend, tasks.get(task).methods[0], operator)
            assert (cell.engine, tasks.limit(cell)) == (usual, "")


def test_a_declared_cell_is_unsupported_without_being_tried(run: Runner) -> None:
    case = Case("qcbm", "gaussian", "tiny", 0)
    request = plan.Request(("qcbm",), ("gaussian",), backends=("jax",), operators=("hvp",), engines=("forward",))
    (record,) = [one for one in run(request) if one.backend == "jax"]
    assert record.cell == tasks.cell(case, "jax", "reverse", "hvp", "float64", "cpu", "forward")
    assert record.outcome == "unsupported"
    assert "two modes" in record.reason
