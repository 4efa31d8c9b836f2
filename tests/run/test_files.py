"""The files of a report folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from diffprog.run import files, plan
from diffprog.spec import Case
from tests.conftest import Runner


@pytest.mark.parametrize("case", [Case("eigensolver", "long_chain", "medium", 0), Case("flow", "ising", "medium", 0)])
def test_inputs_do_not_depend_on_the_number_of_threads(tmp_path: Path, case: Case) -> None:
    """They are drawn by way of BLAS, whose sums go by its threads: these two cases differed with two."""
    drawn = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            drawn.append(files.load(files.write_inputs(tmp_path / str(threads), case)))
    one, other = drawn
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_run_draws_a_case_once(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, write = list[Case](), files.write_inputs

    def counted(folder: Path, case: Case) -> Path:
        drawn.append(case)
        return write(folder, case)

    monkeypatch.setattr(files, "write_inputs", counted)
    request = plan.Request(tasks=("qcbm",), sizes=("tiny",), backends=("numpy",))
    assert len(run(request, samples=0)) == 9
    assert sorted(case.variant for case in drawn) == ["adversarial", "bars_and_stripes", "gaussian"]
