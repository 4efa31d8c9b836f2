"""TF32: a precision of its own, on CUDA devices alone, and off wherever float32 is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from diffprog import tasks
from diffprog.agree import verdict
from diffprog.backends import get
from diffprog.run import plan
from diffprog.run.workers import environment
from diffprog.spec import Case, dtype
from tests.conftest import Runner

CASE = Case("flow", "density", "tiny", 0)
TASK = tasks.get("flow")
CONFIG = TASK.configure("density", "tiny")


def test_elsewhere_it_is_unsupported_with_the_reason(run: Runner) -> None:
    request = plan.Request(
        tasks=("flow",), variants=("density",), backends=("numpy",), methods=("discrete",), precisions=("tf32",)
    )
    records = run(request)
    assert [(r.precision, r.outcome) for r in records] == [
        ("float64", "ok"), ("float32", "ok"), ("tf32", "unsupported"),
    ]  # fmt: skip
    assert records[-1].reason == "tf32 is a mode of NVIDIA's matrix units: there is none on cpu"


def test_the_tolerance_is_that_of_float32_by_the_bits_that_are_lost() -> None:
    yardstick = verdict.Yardstick("itself", 0.0, np.ones(3), float32_error=1e-6)
    single, rounded = (
        verdict.tolerance(TASK, tasks.cell(CASE, "torch", "discrete", "gradient", precision, "cuda"), CONFIG, yardstick)
        for precision in ("float32", "tf32")
    )
    assert (single, rounded) == pytest.approx((1e-5, 2**13 * 1e-5))
    poor = verdict.Yardstick("itself", 0.0, np.ones(3), float32_error=1e-3)
    assert (
        verdict.tolerance(TASK, tasks.cell(CASE, "torch", "discrete", "gradient", "tf32", "cuda"), CONFIG, poor) == 0.1
    )


def test_its_arrays_are_float32() -> None:
    cell = tasks.cell(CASE, "torch", "discrete", "gradient", "tf32", "cuda")
    size = TASK.layout(CONFIG).size
    for found, told in (("float32", ""), ("float64", "the gradient is float64, not float32")):
        arrays = {"value": np.asarray(1.0), "gradient": np.ones(size, found)}
        assert verdict.damage(TASK, cell, CONFIG, arrays) == told
    assert [dtype(name) for name in ("float64", "float32", "tf32")] == ["float64", "float32", "float32"]


@pytest.mark.parametrize(("precision", "on"), [("float32", False), ("tf32", True)])
def test_the_switches_say_what_is_on(precision: str, on: bool) -> None:
    """Read back from PyTorch, which keeps them for CUDA on any machine."""
    torch = pytest.importorskip("torch")
    backend = get("torch")
    try:
        backend.open(precision, "cpu", 1)
        assert backend.switches()["tf32"] == str(on)
    finally:
        get("torch").open("float64", "cpu", 1)
    assert not torch.backends.cuda.matmul.allow_tf32
    assert environment(precision, "cuda", 1, None).get("NVIDIA_TF32_OVERRIDE") == (None if on else "0")
