"""NVML's answers become records: a fake of ``pynvml`` stands for a GPU, and a fake clock for time."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from diffprog.measure import gpu
from diffprog.records.cells import GpuState


class NotSupported(Exception):
    """Stands for pynvml.NVMLError."""


class Board(SimpleNamespace):
    """A GPU that draws 200 W while it computes, and whose counter of energy moves every 0.1 s."""

    NVMLError = NotSupported
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self, *, counts: bool = True, **more: Any) -> None:
        super().__init__(**more)
        self.counts, self.now, self.asked = counts, 0.05, list[Any]()

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's own names
        self.asked.append("init")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return f"device {index}"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        return uuid

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802
        return {1: 1980, 2: 2619}[kind]

    def nvmlDeviceGetMaxClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802
        return 1980

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:  # noqa: N802
        return 61

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802
        return 199_500

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:  # noqa: N802
        return 0x4 | 0x20

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: str) -> int:  # noqa: N802
        return 700_000

    def nvmlDeviceGetPersistenceMode(self, handle: str) -> int:  # noqa: N802
        raise NotSupported

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        if not self.counts:
            raise NotSupported
        return 1_000_000 + 20_000 * int(self.now / 0.1 + 1e-9)

    def nvmlSystemGetDriverVersion(self) -> bytes:  # noqa: N802
        return b"550.54"

    def nvmlSystemGetCudaDriverVersion(self) -> int:  # noqa: N802
        return 12_040


def test_a_state_has_what_the_board_tells_and_nothing_else() -> None:
    monitor = gpu.Monitor(Board(), "device 0")
    assert monitor.state("after") == GpuState(
        when="after", sm_mhz=1980, memory_mhz=2619, celsius=61, watts=199.5, slowed=["power cap", "thermal (driver)"]
    )
    assert monitor.versions() == {"driver": "550.54", "cuda_driver": "12.4"}
    assert monitor.switches() == {
        "gpu_sm_clock_max": "1980 MHz", "gpu_memory_clock_max": "1980 MHz", "gpu_power_limit": "700 W",
    }  # fmt: skip


@pytest.mark.parametrize("call", [0.004, 0.25])
def test_energy_is_that_of_the_calls(call: float) -> None:
    board = Board()

    def run(calls: int) -> float:
        board.now += calls * call
        return calls * call

    found, states = gpu.Monitor(board, "").energy(run, seconds=1.0, clock=lambda: board.now)
    assert found is not None
    assert found.joules / found.calls == pytest.approx(200 * call, rel=0.1)
    assert found.seconds == pytest.approx(found.calls * call)
    assert 1.0 <= found.seconds <= 1.0 + gpu.TICK + call
    assert 0 < len(states) <= gpu.STATES and {state.when for state in states} == {"energy"}


def test_without_a_counter_there_is_no_energy_and_nothing_is_run() -> None:
    def run(calls: int) -> float:
        raise AssertionError

    assert gpu.Monitor(Board(counts=False), "").energy(run) == (None, [])


def test_a_counter_that_stands_still_is_no_energy() -> None:
    board = Board(nvmlDeviceGetTotalEnergyConsumption=lambda handle: 5)
    seconds = iter(range(100))
    found, _ = gpu.Monitor(board, "").energy(lambda calls: 1.0, seconds=3.0, clock=lambda: float(next(seconds)))
    assert found is None


@pytest.mark.parametrize(
    ("visible", "handle"), [("", "device 0"), ("2,3", "device 2"), ("GPU-9f", "GPU-9f"), ("MIG-1a,0", "MIG-1a")]
)
def test_the_device_is_the_one_that_cuda_calls_the_first(
    monkeypatch: pytest.MonkeyPatch, visible: str, handle: str
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Board())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monitor = gpu.connect()
    assert monitor is not None and monitor._handle == handle


def test_where_nvml_does_not_answer_there_is_no_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise NotSupported

    monkeypatch.setitem(sys.modules, "pynvml", Board(nvmlInit=refuse))
    assert gpu.connect() is None
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as if it were not installed
    assert gpu.connect() is None
