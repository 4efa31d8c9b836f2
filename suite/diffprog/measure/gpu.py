"""What NVIDIA's management library (NVML) says of a GPU: energy, clocks, temperature, and why it is slowed down.

Needs the package nvidia-ml-py; without it, or where NVML does not answer, there is no monitor, and nothing is recorded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from diffprog.measure.clock import Run
from diffprog.records.cells import GpuState

ENERGY = 1.0
"""Seconds of calls that the energy of one is the mean of: the counter itself moves some ten times in that time."""
TICK = 0.3
"""Seconds that the counter may take to move, at most."""
STATES = 10
"""States that are noted while energy is taken."""
REASONS = {
    0x001: "idle",
    0x002: "application clocks",
    0x004: "power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "thermal (driver)",
    0x040: "thermal (hardware)",
    0x080: "power brake",
    0x100: "display clocks",
    0x200: "board limit",
    0x400: "reliability",
}
"""Bits of NVML's reasons for a clock below the highest; see nvmlClocksEventReasons in NVML's reference manual."""


@dataclass(frozen=True)
class Energy:
    """Joules of the whole board, idle power included, for so many calls in so many seconds."""

    joules: float
    calls: int
    seconds: float


class Monitor:
    """One GPU. A quantity that it does not report is None.

    Args:
        nvml: the module ``pynvml``, initialised.
        handle: NVML's handle of the device.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def _ask(self, name: str, *arguments: Any) -> Any:
        function = getattr(self._nvml, name, None)
        if function is None:  # an older binding
            return None
        try:
            return function(self._handle, *arguments)
        except self._nvml.NVMLError:
            return None

    def state(self, when: str) -> GpuState:
        """The device now; ``when`` says in a word what it is doing."""
        nvml = self._nvml
        reasons = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # before driver 535
            reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return GpuState(
            when=when,
            sm_mhz=self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            memory_mhz=self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            celsius=self._ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            watts=_over(1000, self._ask("nvmlDeviceGetPowerUsage")),
            slowed=None if reasons is None else [word for bit, word in REASONS.items() if reasons & bit],
        )

    def joules(self) -> float | None:
        """Energy since the driver was loaded."""
        return _over(1000, self._ask("nvmlDeviceGetTotalEnergyConsumption"))

    def versions(self) -> dict[str, str]:
        """The driver, and the CUDA version that it is made for."""
        found = {}
        try:
            found["driver"] = _text(self._nvml.nvmlSystemGetDriverVersion())
            number = int(self._nvml.nvmlSystemGetCudaDriverVersion())
            found["cuda_driver"] = f"{number // 1000}.{number % 1000 // 10}"
        except self._nvml.NVMLError:
            pass
        return found

    def switches(self) -> dict[str, str]:
        """Limits that times depend on, as they are set now."""
        nvml = self._nvml
        clocks = [self._ask("nvmlDeviceGetMaxClockInfo", kind) for kind in (nvml.NVML_CLOCK_SM, nvml.NVML_CLOCK_MEM)]
        limit = _over(1000, self._ask("nvmlDeviceGetEnforcedPowerLimit"))
        persistence, mig = self._ask("nvmlDeviceGetPersistenceMode"), self._ask("nvmlDeviceGetMigMode")
        found = {
            "gpu_sm_clock_max": None if clocks[0] is None else f"{clocks[0]} MHz",
            "gpu_memory_clock_max": None if clocks[1] is None else f"{clocks[1]} MHz",
            "gpu_power_limit": None if limit is None else f"{limit:g} W",
            "gpu_persistence": None if persistence is None else str(bool(persistence)),
            "gpu_mig": None if mig is None else str(bool(mig[0])),
        }
        return {name: text for name, text in found.items() if text is not None}

    def energy(
        self, run: Run, seconds: float = ENERGY, clock: Callable[[], float] = perf_counter
    ) -> tuple[Energy | None, list[GpuState]]:
        """The energy of calls that follow each other for about ``seconds``, and the device's states meanwhile.

        None where the device does not count energy. The counter moves in steps of some 0.1 s: it is read where it has
        just moved, at the beginning and at the end.
        """
        states: list[GpuState] = []
        if self.joules() is None:
            return None, states
        first, _ = self._moved(run, clock)
        began = noted = clock()
        calls = 0
        while clock() - began < seconds:
            run(1)
            calls += 1
            if clock() - noted > seconds / STATES and len(states) < STATES:
                noted = clock()
                states.append(self.state("energy"))
        last, more = self._moved(run, clock)
        spent = clock() - began
        if first is None or last is None or last <= first:
            return None, states
        return Energy(last - first, calls + more, spent), states

    def _moved(self, run: Run, clock: Callable[[], float]) -> tuple[float | None, int]:
        """Calls until the counter moves; what it then says, and how many calls that were."""
        start, before, calls = clock(), self.joules(), 0
        while True:
            run(1)
            calls += 1
            now = self.joules()
            if now != before or clock() - start > TICK:
                return now, calls


def connect(visible: str | None = None) -> Monitor | None:
    """The GPU that CUDA calls the first one, or None where NVML cannot be asked.

    ``visible`` is CUDA_VISIBLE_DEVICES, from the environment if it is left out. NVML numbers devices by their place on
    the bus, and CUDA does so where CUDA_DEVICE_ORDER is PCI_BUS_ID, which is in the environment of every worker.
    """
    try:
        import pynvml
    except ImportError:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "") if visible is None else visible
    first = visible.split(",")[0].strip() or "0"
    try:
        pynvml.nvmlInit()
        if first.isdigit():
            return Monitor(pynvml, pynvml.nvmlDeviceGetHandleByIndex(int(first)))
        return Monitor(pynvml, pynvml.nvmlDeviceGetHandleByUUID(first))
    except pynvml.NVMLError:
        return None


def _over(scale: int, number: Any) -> float | None:
    return None if number is None else number / scale


def _text(found: str | bytes) -> str:
    """Older bindings answer in bytes."""
    return found.decode() if isinstance(found, bytes) else found
