"""Cells on a GPU as the parent sees them: judged by the CPU's float64 reference, JAX's each in its own process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from diffprog import tasks
from diffprog.agree import verdict
from diffprog.records.cells import GpuState, Record
from diffprog.run import driver, plan
from diffprog.run.workers import environment
from tests.conftest import Runner

WORKER = str(Path(__file__).with_name("cuda_worker.py"))


def request(*backends: str, precisions: tuple[str, ...] = ("float64",)) -> plan.Request:
    return plan.Request(
        tasks=("flow",), variants=("quadratic",), backends=backends, methods=("discrete", "checkpointed"),
        devices=("cuda",), precisions=precisions,
    )  # fmt: skip


def on_gpu(records: list[Record]) -> list[Record]:
    return [record for record in records if record.device == "cuda"]


@pytest.mark.parametrize(("fault", "outcome"), [("none", "ok"), ("wrong", "disagrees")])
def test_a_gradient_on_the_gpu_is_held_to_the_reference_on_the_cpu(run: Runner, fault: str, outcome: str) -> None:
    command = (sys.executable, WORKER, fault)
    found = run(request("torch", precisions=("float64", "float32")), command=command, samples=1)
    reference = found[0]
    assert (reference.backend, reference.device, reference.outcome) == ("numpy", "cpu", "ok")
    cells = on_gpu(found)
    assert [cell.precision for cell in cells] == ["float64", "float64", "float32", "float32"]
    tolerances = []
    for cell in cells:
        assert cell.outcome == outcome
        assert cell.agreement is not None and cell.agreement.reference == reference.cell.key
        assert cell.reason.startswith("the gradient is off by 1.00e-02") or outcome == "ok"
        tolerances.append(cell.agreement.tolerance)
    assert tolerances[0] == tasks.get("flow").tolerance
    assert tolerances[2] >= verdict.FLOAT32_FLOOR


def test_a_process_a_cell_where_the_peak_is_the_process_s(tmp_path: Path) -> None:
    """And one more for the device's rates: what they take would be in the peak."""
    settings = driver.Settings(samples=1, seconds=0.01, command=(sys.executable, WORKER, "none"))
    running = driver.Run(tmp_path, settings)
    running.start(resume=False)
    cells = on_gpu(running.run(plan.cells(request("torch", "jax"))))
    assert [cell.outcome for cell in cells] == ["ok"] * 4
    processes: dict[str, list[str]] = {"torch": [], "jax": []}
    for cell in cells:
        assert cell.provenance is not None and cell.floor is not None
        assert cell.provenance.switches == {"tf32": "no", "svd": "on paper"}
        assert cell.gpu is not None
        assert cell.gpu.states == [GpuState(when="before", celsius=50), GpuState(when="after", celsius=50)]
        processes[cell.backend].append(cell.provenance.versions["process"])
    assert len(set(processes["torch"])) == 1
    assert len(set(processes["jax"])) == 2


def test_without_a_gpu_cells_are_unavailable_and_the_run_is_no_failure(run: Runner) -> None:
    found = run(request("torch", "jax"), command=(sys.executable, WORKER, "absent"), samples=1)
    cells = on_gpu(found)
    assert [(cell.outcome, cell.reason) for cell in cells] == [("unavailable", "there is no GPU")] * 4
    assert driver.exit_code(found) == 0


def test_devices_are_numbered_as_nvml_does() -> None:
    assert environment("float64", "cuda", 1, None)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
