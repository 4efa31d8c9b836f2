"""Backends against each other, through real workers, as users run them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffprog import tasks
from diffprog.backends import find_julia
from diffprog.run import files, plan
from diffprog.spec import Case
from tests.conftest import Runner

pytestmark = pytest.mark.cross


@pytest.fixture(params=["torch", "jax", pytest.param("julia", marks=pytest.mark.julia)])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "julia":
        request.getfixturevalue("julia")
    else:
        pytest.importorskip(name)
    return name


@pytest.mark.parametrize("task", tasks.NAMES)
def test_every_cell_of_every_backend_is_ok(
    run: Runner, backend: str, task: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Of the first variant and method, in float32: each is compiled anew. `diffprog baseline check` has them all in
    float64; so has this with --thorough.
    """
    thorough = pytestconfig.getoption("--thorough")
    julia = find_julia.find() if backend == "julia" else None
    first = plan.Request(
        tasks=(task,),
        variants=tasks.get(task).variants[:1],
        backends=(backend,),
        methods=tasks.get(task).methods[:1],
        precisions=("float64", "float32") if thorough else ("float32",),
    )
    records = run(first, julia=julia)
    if thorough:
        records += run(plan.Request(tasks=(task,), backends=(backend,)), julia=julia, resume=True)
    assert {record.backend for record in records} == {"numpy", backend}
    for record in records:
        assert record.outcome == "ok", f"{record.cell.name}: {record.reason}"
        assert len(record.seconds.value) >= 9
        assert len(record.seconds.gradient) >= 9
        assert record.seconds.import_ is not None
        assert record.seconds.first_gradient is not None
        assert record.memory.host_peak is not None
        assert record.provenance is not None
        assert record.provenance.threads == 1
        assert record.provenance.source
    work: dict[Case, list[dict[str, int]]] = {}
    for record in records:
        if record.method not in tasks.get(task).adaptive:  # such a method decides for itself how much it does
            work.setdefault(record.cell.case, []).append(record.invariants)
    assert all(counts == counted[0] for counted in work.values() for counts in counted)
    for record in records:
        with np.load(tmp_path / "run" / record.arrays) as arrays:
            assert arrays["gradient"].dtype == record.precision
            assert arrays["gradient"].shape == (record.parameters,)


def test_methods_of_the_born_machine_agree_absolutely(run: Runner, backend: str, tmp_path: Path) -> None:
    julia = find_julia.find() if backend == "julia" else None
    request = plan.Request(tasks=("qcbm",), variants=("gaussian",), sizes=("small",), backends=(backend,))
    gradients = []
    for record in run(request, julia=julia):
        with np.load(tmp_path / "run" / record.arrays) as arrays:
            gradients.append(arrays["gradient"])
    assert len(gradients) == 4  # the reference and three methods
    assert max(np.abs(g - gradients[0]).max() for g in gradients) <= 2e-15


def test_inputs_are_shared_and_the_parent_imports_no_framework(run: Runner, tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys, diffprog.cli, diffprog.report.build\n"
        "print([m for m in ('torch', 'jax', 'juliacall') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
    run(plan.Request(tasks=("qcbm",), variants=("gaussian",), backends=("numpy",)))
    case = Case("qcbm", "gaussian", "tiny", 0)
    assert [path.name for path in (tmp_path / "run" / "arrays").iterdir()] == [case.key]
    assert files.load(tmp_path / "run" / "arrays" / case.key / "inputs.npz")["directions"].shape[0] == 3
