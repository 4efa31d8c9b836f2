"""The messages between the parent and a worker: one JSON object a line, the worker's stdin one way, its stdout back.

The worker keeps its standard output for replies alone; whatever a framework prints goes to standard error. Arrays
travel as .npz files that the messages name, never as JSON text. A worker answers each request by any number of
``Phase`` and ``Step`` lines and then exactly one of ``Ready``, ``Result``, ``Sampled``, ``Fitted`` or ``Failure``.
docs/protocol.md tells it to those who write a worker in another language.
"""

from __future__ import annotations

import msgspec

from diffprog.records.cells import Gpu, Memory, Rates, Seconds

VERSION = 1
"""Raised by each change after which an old worker and a new parent, or the reverse, misunderstand each other."""
Scalars = dict[str, bool | int | float | str]

VALUE_ALONE = "value_alone"
"""The array of what the function of the value gives, which is timed by itself; ``value`` comes with the derivative."""
AFTER = "after:"
"""Before the name of a timed function: what it gave once more after sampling, where that is not bit for bit the same. A
derivative's own value has `ITS_VALUE` behind it besides."""
ITS_VALUE = ":value"
OUTPUT = "output:"
"""Before the name of an output that is called like an answer: it must not take its place."""


def is_value(name: str) -> bool:
    """Whether an array of a result is a value."""
    after = name.startswith(AFTER) and not is_derivative(name)
    return name in ("value", VALUE_ALONE) or after


def is_derivative(name: str) -> bool:
    """Whether an array of a result is a derivative."""
    after = name.startswith(AFTER) and name.endswith("gradient")
    return name in ("gradient", "jvp", "hvp") or after


def is_answer(name: str) -> bool:
    """Whether an array of a result is no output of the task."""
    return is_value(name) or is_derivative(name) or name.startswith(OUTPUT)


class Open(msgspec.Struct, frozen=True, tag="open"):
    """The first request: import the backend."""

    backend: str
    precision: str
    device: str
    threads: int
    protocol: int
    """The version that the parent speaks, `VERSION`."""
    rates: float = 0.0
    """About how many seconds to spend on measuring the device's own rates; 0: they are not wanted."""


class Prepare(msgspec.Struct, frozen=True, tag="prepare"):
    """Build one cell from the host's inputs, without running it."""

    task: str
    variant: str
    size: str
    method: str
    inputs: str
    operator: str = "gradient"
    engine: str = ""
    """What differentiates; the backend's default if empty."""
    overrides: dict[str, int | float] = {}
    """Fields of the configuration to change, such as the number of steps."""
    config: Scalars = {}
    """The task's own configuration with the overrides in it, for workers that do not have the suite's declarations."""
    folder: str = ""
    """Where the task lies, if it is a model from outside the suite."""


class Measure(msgspec.Struct, frozen=True, tag="measure"):
    """Run and time the prepared cell; write its value, gradient and outputs to ``arrays``."""

    samples: int
    """Of value and derivative, at least; 0: nothing is timed."""
    seconds: float
    """About how long to sample for, once the least number of samples is there."""
    arrays: str
    directions: int = 0
    """How many of the inputs' random directions to check by finite differences."""


class Sample(msgspec.Struct, frozen=True, tag="sample"):
    """Time the prepared cell once; for benchmark tools that do their own sampling, and for two workers in turn."""

    phase: str
    """``value`` or ``gradient``: the cell's derivative, whichever its operator."""
    calls: int = 1
    """How many calls the sample is the mean of; if more than one, an untimed call comes first."""


class Fit(msgspec.Struct, frozen=True, tag="fit"):
    """Optimise the case in ``inputs``; write the state and what comes of it to ``arrays``."""

    task: str
    variant: str
    size: str
    method: str
    inputs: str
    optimiser: str
    """``adam`` or ``lbfgs``."""
    steps: int
    rate: float
    """Adam's step size."""
    arrays: str
    config: Scalars = {}
    """As in `Prepare`."""
    folder: str = ""
    """As in `Prepare`."""


class Quit(msgspec.Struct, frozen=True, tag="quit"):
    """End the process."""


Request = Open | Prepare | Measure | Sample | Fit | Quit


class Phase(msgspec.Struct, frozen=True, tag="phase"):
    """Progress: what the worker is doing now."""

    name: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """``Open`` or ``Prepare`` is done."""

    seconds: float
    made_with: str = ""
    versions: dict[str, str] = {}
    switches: dict[str, str] = {}
    """After ``Open`` those of the framework, after ``Prepare`` those that the task itself chose."""
    protocol: int = 0
    """After ``Open``: the version that the worker speaks."""
    rates: Rates | None = None
    """After ``Open``, where they were asked for."""


class Result(msgspec.Struct, frozen=True, tag="result"):
    """``Measure`` is done."""

    value: float | None
    """None if it is not finite; the .npz file has it as it is."""
    invariants: dict[str, int]
    seconds: Seconds
    memory: Memory
    finite_differences: float | None = None
    finite_differences_tolerance: float | None = None
    identity: float | None = None
    identity_tolerance: float | None = None
    gpu: Gpu | None = None
    """Of a cell on a GPU."""
    noise: float | None = None
    """Of a model from outside: how far, relative to ‖g‖, its gradient moves when θ moves by units in the last place."""
    value_noise: float | None = None
    """How far its value moves, over max(1, |L|)."""
    undetermined: float | None = None
    """Of a model from outside: by how much two calls with the same inputs differ, over max(1, |L|)."""
    off_blocks: dict[str, float] = {}
    """Of a model from outside whose gradient is not that of finite differences: by how much each parameter's part of it
    is off, relative to ‖g‖."""


class Sampled(msgspec.Struct, frozen=True, tag="sampled"):
    """``Sample`` is done."""

    seconds: float
    """Of one call."""


class Step(msgspec.Struct, frozen=True, tag="step"):
    """Progress of a fit: the loss before step number ``step``, counted from 0, or after the last one."""

    step: int
    loss: float
    seconds: float
    """Since the fit began, its first call included."""


class Fitted(msgspec.Struct, frozen=True, tag="fitted"):
    """``Fit`` is done."""

    made_with: str
    seconds: float
    evaluations: int
    """Of value and gradient."""
    message: str
    """Why the optimiser stopped."""


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """The request could not be carried out. The worker lives on unless it says otherwise by dying."""

    outcome: str
    """``unavailable``, ``unsupported``, ``out_of_memory`` or ``error``."""
    reason: str
    mend: str = ""


Reply = Phase | Ready | Result | Sampled | Step | Fitted | Failure


def mismatch(parent: int, worker: int) -> str:
    """Why the two cannot talk, or an empty string."""
    if parent == worker:
        return ""
    spoken = f"version {worker}" if worker else "no version"
    return (
        f"the suite speaks version {parent} of the worker protocol and this worker {spoken}: "
        "bring both to the same (docs/protocol.md)"
    )


encode = msgspec.json.Encoder().encode
decode_request = msgspec.json.Decoder(Request).decode
decode_reply = msgspec.json.Decoder(Reply).decode
