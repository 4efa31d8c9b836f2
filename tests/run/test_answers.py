"""What a cell publishes is what was checked: value, derivative and outputs, before and after the samples."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from diffprog.run import files, plan
from tests.conftest import Runner

FAULTY = str(Path(__file__).with_name("faulty_worker.py"))
REQUEST = plan.Request(
    tasks=("flow",), variants=("quadratic",), backends=("numpy",), methods=("discrete", "checkpointed"), seeds=(1,)
)
FAULTS = {
    "value NaN": ("disagrees", "the value that is timed is nan"),
    "value 0": ("disagrees", "the value that is timed is off by"),
    "value float32": ("disagrees", "the value that is timed"),
    "late value": ("disagrees", "the value after sampling is inf"),
    "late gradient": ("disagrees", "after sampling, what was timed as 'gradient' no longer gives the answer"),
    "kept": ("error", "the gradient that is timed return the same object"),
    "kept value": ("error", "the value that is timed return the same object"),
    "kept float": ("error", "the value that is timed return the same object"),
    "kept part": ("error", "the gradient that is timed return the same object"),
    "copied": ("error", "the value that is timed is the same for other parameters"),
    "copied part": ("error", "the gradient that is timed is the same for other parameters"),
    "copied value": ("error", "the value that is timed is the same for other parameters"),
    "by id": ("error", "the value that is timed is the same for other parameters"),
    "outputs reversed": ("disagrees", "the output latent is off by"),
    "outputs float16": ("disagrees", "the output latent is float16, not float64"),
    "outputs NaN": ("disagrees", "numbers of the output log_density are not finite"),
    "outputs cut": ("disagrees", "the output log_density has shape"),
    "outputs gradient": ("disagrees", "an output has the name 'gradient'"),
    "outputs value": ("disagrees", "an output has the name 'value'"),
    "outputs invented": ("disagrees", "'more' is no output of the task"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_timed_and_shown_is_what_was_checked(fault: str, run: Runner, tmp_path: Path) -> None:
    records = run(REQUEST, command=[sys.executable, FAULTY, fault, "checkpointed"])
    by_method = {record.method: record for record in records}
    assert by_method["discrete"].outcome == "ok"
    found, (outcome, reason) = by_method["checkpointed"], FAULTS[fault]
    assert found.outcome == outcome
    assert reason in found.reason
    if fault.startswith("outputs"):
        arrays = files.load(tmp_path / "run" / found.arrays)
        right = files.load(tmp_path / "run" / by_method["discrete"].arrays)
        assert np.allclose(arrays["gradient"], right["gradient"])
        assert np.allclose(arrays["value"], right["value"])


@pytest.mark.parametrize("fault", ["copied", "copied part", "copied value"])
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_copies_of_an_earlier_answer_are_not_timed(backend: str, fault: str, run: Runner) -> None:
    pytest.importorskip(backend)
    request = dataclasses.replace(REQUEST, backends=("numpy", backend), methods=("checkpointed",))
    *_, found = run(request, command=[sys.executable, FAULTY, fault, "checkpointed"])
    assert found.backend == backend
    assert found.outcome == "error"
    assert FAULTS[fault][1] in found.reason


@pytest.mark.parametrize("fault", ["value 0", "late value", "late gradient", "kept", "outputs gradient"])
def test_the_reference_is_no_exception(fault: str, run: Runner) -> None:
    (record,) = run(
        plan.Request(tasks=("flow",), variants=("quadratic",), backends=("numpy",), methods=("discrete",)),
        command=[sys.executable, FAULTY, fault, "discrete"],
    )
    assert record.outcome == FAULTS[fault][0]


def test_a_good_cell_has_no_second_answer_in_its_arrays(run: Runner, tmp_path: Path) -> None:
    records = run(REQUEST)
    for record in records:
        assert record.outcome == "ok"
        assert record.agreement is not None
        assert record.agreement.value_alone is not None and record.agreement.value_alone <= 1e-14
        names = set(files.load(tmp_path / "run" / record.arrays))
        assert names == {"value", "value_alone", "gradient", "latent", "log_density", "bits_per_dim"}
    assert records[1].agreement is not None
    assert set(records[1].agreement.outputs) == {"latent", "log_density", "bits_per_dim"}
