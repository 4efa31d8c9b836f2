"""Records: one line of JSON a cell, appended as cells end, so that a stopped run keeps all it measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from diffprog.records.lines import Lines
from diffprog.spec import Case, Cell

SCHEMA = 2
FILE = "records.jsonl"
Count = Annotated[int, msgspec.Meta(ge=0)]


class Seconds(msgspec.Struct, frozen=True, kw_only=True, rename={"import_": "import"}):
    """Wall-clock seconds by phase. Lists hold the raw steady samples, each the time of *one* call.

    ``gradient`` stands for the cell's derivative, be it a gradient, a jvp or an hvp.
    """

    import_: float | None = None
    """From the start of the worker process to the framework being imported and ready (Julia: its start included)."""
    setup: float | None = None
    """Reading inputs, moving them to the device, building the problem."""
    first_value: float | None = None
    """The first call: compilation included."""
    first_gradient: float | None = None
    value: list[float] = []
    gradient: list[float] = []
    by_hand_value: list[float] = []
    """The same function called in a bare loop, interleaved with the samples above: what the harness itself costs."""
    by_hand_gradient: list[float] = []
    loops_value: int = 0
    """Calls behind each sample; a sample is their mean."""
    loops_gradient: int = 0
    warm_up_value: int = 0
    """Calls before the first sample, which are not counted."""
    warm_up_gradient: int = 0
    settled_value: bool | None = None
    """Whether the warm-up ended because the time of a call had become steady; None where that could not be seen."""
    settled_gradient: bool | None = None
    to_device: list[float] = []
    """Raw samples of moving all inputs, in the cell's precision, from the host's pageable memory to the device."""
    to_host: list[float] = []
    """Of bringing value and derivative back, where they are complete."""
    events_value: list[float] = []
    """The same function by the device's own events instead of the host's clock, sampled in turn with ``value``."""
    events_gradient: list[float] = []


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes. ``host_peak`` is the worker's peak resident set during the cell, ``host_before`` what it held before."""

    host_before: int | None = None
    host_peak: int | None = None
    device_peak: int | None = None


class GpuState(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU at one moment, as NVML tells it; None is what it does not tell."""

    when: str
    """``before`` the steady samples, right ``after`` them, or while ``energy`` was taken."""
    sm_mhz: int | None = None
    memory_mhz: int | None = None
    celsius: int | None = None
    watts: float | None = None
    slowed: list[str] | None = None
    """Why the clocks are below their highest."""


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on a GPU besides times and memory."""

    states: list[GpuState] = []
    """In the order in which they were taken."""
    joules: float | None = None
    """Energy of one call of the derivative (of the value, where there is none), of the whole board, idle power too."""
    energy_calls: int = 0
    """Calls that ``joules`` is the mean of."""
    energy_seconds: float | None = None
    """What these calls took together."""
    round_trips_value: int | None = None
    """How often the host waits for the device within one call, as far as the framework counts it."""
    round_trips_gradient: int | None = None


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """How one gradient differs from another. See ``diffprog.agree.errors``."""

    relative_l2: float | None
    max_rho: float | None
    cosine: float | None
    worst: int
    """Index of the component with the largest ρ."""
    worst_name: str = ""
    """Its name in the parameter layout, such as ``W[3,5]``."""
    component: float | None = None
    """The largest relative error of one component, those below 1e-5 of the norm counting as that large."""
    component_name: str = ""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """The comparison of one cell with the reference, and with stronger evidence where there is some: the ladder."""

    reference: str
    """Key of the cell compared with (or ``itself``)."""
    value: float | None = None
    """|L − L_ref| / max(1, |L_ref|)."""
    value_alone: float | None = None
    """The same of the function of the value by itself, whose time stands beside the derivative's."""
    value_tolerance: float | None = None
    """What ``value`` and ``value_alone`` were judged by; None in records older than this field: ``tolerance``."""
    gradient: Errors | None = None
    """Of the cell's derivative: a gradient, an hvp, or a jvp (whose error is relative to ‖g‖)."""
    own_float32: float | None = None
    """Of a float32 cell: ``gradient.relative_l2`` over that of the reference's own float32 derivative."""
    tolerance: float
    """What ``gradient.relative_l2`` was judged by."""
    approximation: float | None = None
    """Of a method that approximates: how far its right answer is from the reference's, relative L2. ``gradient`` is
    compared with the former."""
    outputs: dict[str, float] = {}
    """The errors of the outputs: of a scalar as of the value, of an array relative L2."""
    closed_form: Errors | None = None
    """Of the gradient against the exact answer, where one is known."""
    finite_differences: float | None = None
    """Largest |finite difference − g·v| / ‖g‖ over the host's random directions (of an hvp: of gradients, / ‖Hv‖)."""
    finite_differences_tolerance: float | None = None
    identity: float | None = None
    """Of a jvp: |J v − g·v| / ‖g‖ with g by the backend's default engine, the adjoint identity."""
    identity_tolerance: float | None = None
    noise: float | None = None
    """Of a user's model: how far its gradient moves, relative to ‖g‖, when θ moves by units in the last place."""
    value_noise: float | None = None
    """How far its value moves then, over max(1, |L|)."""
    zero_blocks: tuple[str, ...] = ()
    """Of a user's model: parameters whose gradient is zero throughout."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What a device does at its best in a second, measured in the worker; see `diffprog.measure.rates`."""

    bandwidth: float
    """Bytes read and written, of a copy that no cache holds."""
    flops: float
    """Additions and multiplications of a product of matrices in the cell's precision."""
    cache: int | None = None
    """Bytes of its last cache; None where it is unknown."""


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """The least time of one call: max(bytes / bandwidth, flops / rate), from ``Task.demand`` and the rates."""

    value: float | None = None
    """Seconds."""
    gradient: float | None = None
    value_bound: str = ""
    """Which of the two decides: ``memory`` or ``arithmetic``."""
    gradient_bound: str = ""
    rates: Rates


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where a number comes from."""

    suite: str
    commit: str
    source: str
    """Hash of the task's own source files."""
    code: str = ""
    """Hash of the suite's other Python files, those that measure among them."""
    host: str
    cpu: str
    cores: int
    threads: int
    gpu: str = ""
    platform: str = ""
    versions: dict[str, str] = {}
    switches: dict[str, str] = {}
    julia: str = ""
    """Which Julia was used and its manifest's hash, for Julia cells."""
    environment: dict[str, str] = {}
    """Variables that the worker had of the user's and that may change what it does; see docs/environment.md."""
    worker: str = ""
    """The command of the worker, where it was not the suite's own."""
    processors: str = ""
    """Which the worker was bound to; empty where the system binds no process."""
    contended: bool = False
    """Whether another run had claimed one of them: the two may have timed each other."""
    session: str = ""
    """Shared by two runs whose samples i were taken side by side (`diffprog run --versus`); else empty."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The whole story of one cell."""

    schema: int = SCHEMA
    task: str
    variant: str
    size: str
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    backend: str
    engine: str
    """What differentiates; see ``diffprog.engines``."""
    made_with: str = ""
    """What the task is made with on this backend, in a word or two."""
    method: str
    operator: str
    precision: str
    device: str
    outcome: str
    reason: str = ""
    mend: str = ""
    """The command that would make an unavailable cell available."""
    value: float | None = None
    parameters: Count = 0
    data: str = ""
    """What the data really is, such as which images."""
    invariants: dict[str, int] = {}
    seconds: Seconds = Seconds()
    memory: Memory = Memory()
    agreement: Agreement | None = None
    floor: Floor | None = None
    """None where it is not known: no rates were measured, or the task declares no such demand."""
    gpu: Gpu | None = None
    """None for cells that did not run on a GPU."""
    arrays: str = ""
    """The cell's arrays, relative to the report folder."""
    provenance: Provenance | None = None
    started: str = ""
    """UTC, ISO 8601."""

    @property
    def cell(self) -> Cell:
        case = Case(self.task, self.variant, self.size, self.seed)
        return Cell(case, self.backend, self.method, self.operator, self.precision, self.device, self.engine)


class Journal(Lines[Record]):
    """The records of a run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / FILE, Record, lambda record: record.cell.name, SCHEMA)
