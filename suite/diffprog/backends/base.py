"""What the worker asks of a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from diffprog import tasks
from diffprog.measure.clock import Bare, Run
from diffprog.measure.rates import Probes
from diffprog.spec import Array, Arrays


@dataclass(frozen=True)
class Ask:
    """What is asked of a cell besides its value.

    Attributes:
        operator: gradient, jvp or hvp; with value it means a gradient.
        engine: what makes it; the backend's default if empty.
        direction: v (P,) in float64, for a jvp or an hvp.
    """

    operator: str = "gradient"
    engine: str = ""
    direction: Array = field(default_factory=lambda: np.empty(0))

    def named(self, backend: str, task: str) -> Ask:
        """The same with its engine named."""
        return self if self.engine else replace(self, engine=tasks.engine(backend, task, self.operator))


GRADIENT = Ask()
Elsewhere = Callable[[Any, Callable[[Any], Any], Array], Any]


@dataclass(frozen=True)
class Prepared:
    """One cell, ready to run: every input is on the device and nothing is left to convert.

    ``value`` and ``derivative`` start the work and return the framework's own result; ``synchronise(result)`` returns
    when that result is complete. ``fetch`` brings ``(value, derivative)`` to the host as a float and an array: (P,) for
    a gradient and an hvp, () for a jvp. ``value_at(θ)`` is the value and ``gradient_at(θ)`` the gradient by the default
    engine, at other parameters, given and returned on the host: for finite differences and identities.
    ``value_by_hand(n)`` and ``derivative_by_hand(n)`` call the bare function n times the way a user would, each call
    complete before the next, and return the seconds it took: the yardstick for what the harness costs. As `Bare` they
    can be asked for a result too, which is compared with the answer after sampling. ``elsewhere(call, read, θ)`` is
    ``read(call())`` of ``value`` or ``derivative`` themselves at other parameters, given on the host.

    ``switches`` are those that the task itself chose, such as the driver of an SVD. On a GPU ``place`` moves all inputs
    from the host to the device once more and returns them; and where the framework offers it, ``by_events`` makes of a
    call a function that times n of them by the device's own events, and ``round_trips`` counts how often the host waits
    for the device within a call. Within ``faults()`` what goes wrong in a user's model is told in its author's words.
    """

    value: Callable[[], Any]
    derivative: Callable[[], Any]
    synchronise: Callable[[Any], None]
    fetch_value: Callable[[Any], float]
    fetch: Callable[[Any], tuple[float, Any]]
    value_at: Callable[[Array], float]
    gradient_at: Callable[[Array], Array]
    outputs: Callable[[], Arrays]
    work: Callable[[], dict[str, int]]
    value_by_hand: Callable[[int], float]
    derivative_by_hand: Callable[[int], float]
    made_with: str
    switches: dict[str, str] = field(default_factory=dict)
    elsewhere: Elsewhere | None = None
    place: Callable[[], Any] | None = None
    by_events: Callable[[Callable[[], Any]], Run] | None = None
    round_trips: Callable[[Callable[[], Any]], int] | None = None
    faults: Callable[[], AbstractContextManager[None]] = nullcontext


class Adam(Protocol):
    """The framework's own Adam (β = 0.9, 0.999; ε = 1e-8), with its state on the device."""

    def step(self, batch: int) -> float:
        """One update on a minibatch; returns the objective before it."""

    def theta(self) -> Array:
        """The parameters now, on the host."""


@dataclass(frozen=True)
class Pace:
    """How fast each parameter of a minimax moves; see `declaration.Minimax`.

    Adam's step t of ``steps`` is multiplied by (1 − t/steps) and, component by component, by ``factors`` (P,): a
    negative one ascends.
    """

    factors: Array
    steps: int

    def left(self, step: Any) -> Any:
        """What is left of the rates at a step, counted from zero: a number of the framework's own for one of its."""
        return 1 - step / self.steps

    def runs(self) -> list[slice]:
        """Neighbouring parameters of one pace."""
        edges = np.flatnonzero(np.diff(self.factors)) + 1
        return [slice(a, b) for a, b in pairwise([0, *edges.tolist(), self.factors.size])]


class MakeAdam(Protocol):
    def __call__(self, theta: Array, rate: float, pace: Pace | None = None, /) -> Adam:
        """An optimiser that starts from θ (P,), given on the host; without ``pace`` all of it descends at ``rate``."""


@dataclass(frozen=True)
class Trainer:
    """A cell for optimisers: the objective L(θ) − s·θ on each of its ``batches`` minibatches.

    ``gradient_at(θ, batch)`` is the objective and its gradient (P,), given and returned on the host;
    ``outputs_at(θ)`` are the task's outputs on the case's own data; ``adam(θ, rate, pace)`` starts an optimiser.
    ``faults``: see `Prepared`.
    """

    batches: int
    gradient_at: Callable[[Array, int], tuple[float, Array]]
    outputs_at: Callable[[Array], Arrays]
    adam: MakeAdam
    made_with: str
    faults: Callable[[], AbstractContextManager[None]] = nullcontext


class Backend(Protocol):
    """A framework within one worker process."""

    name: str

    def open(self, precision: str, device: str, threads: int) -> None:
        """Imports the framework and sets precision, device and threads.

        Raises:
            Unavailable: if the framework or device is not there.
            Unsupported: if the backend never computes on such a device.
        """

    def prepare(self, task: str, config: Any, method: str, inputs: Arrays, ask: Ask = GRADIENT) -> Prepared:
        """Moves the float64 host ``inputs`` to the device in the opened precision and builds the cell.

        Raises:
            Unsupported: if this backend has no such method, or the engine cannot do what is asked.
        """

    def trainer(self, task: str, config: Any, method: str, batches: Sequence[Arrays], source: Array) -> Trainer:
        """The cell for optimisers. ``batches`` are the data, the case's own first; ``source`` is s, (P,).

        Raises:
            Unavailable: from its ``adam``, if the framework's optimisers are not installed.
            Unsupported: if this backend has no such method.
        """

    def versions(self) -> dict[str, str]:
        """Versions of what takes part in the computation."""

    def switches(self) -> dict[str, str]:
        """Precision, thread and compiler switches as they are now, read back from the framework."""

    def threads(self) -> dict[str, int]:
        """How many threads compute, by the pool that they are of, read back; BLAS and OpenMP are known without it."""

    def probes(self) -> Probes:
        """What the device's own rates are measured by."""

    def device_peak(self) -> int | None:
        """Peak device memory in bytes since ``prepare``, or None on the host."""


def in_precision(inputs: Arrays, precision: str) -> Arrays:
    """The inputs with every floating or complex array in ``precision``; integers and truth values as they are."""
    kinds = {"f": precision, "c": "complex128" if precision == "float64" else "complex64"}
    return {
        name: array.astype(kinds[array.dtype.kind]) if array.dtype.kind in kinds else array
        for name, array in inputs.items()
    }


def in_a_row(derivative: Any, fetch: Callable[[Any], Array], order: Iterable[str] = ()) -> Array:
    """A derivative on the host; one by name, such as a model's, as one flat array in that ``order``."""
    if not isinstance(derivative, Mapping):
        return fetch(derivative)
    return np.concatenate([fetch(derivative[name]).reshape(-1) for name in order])


def in_place(theta: Any, convert: Callable[[Array], Any] = np.asarray) -> Elsewhere:
    """`Prepared.elsewhere` where arrays can be written: the timed functions find others in the memory of ``theta``."""

    def elsewhere(call: Callable[[], Any], read: Callable[[Any], Any], x: Array) -> Any:
        own = deepcopy(theta)
        theta[...] = convert(x)
        try:
            return read(call())
        finally:
            theta[...] = own

    return elsewhere


def by_hand(function: Callable[..., Any], *arguments: Any) -> Bare:
    """The bare loop for a framework whose calls return finished results."""

    def run(calls: int) -> float:
        start = perf_counter()
        for _ in range(calls):
            function(*arguments)
        return perf_counter() - start

    return Bare(run, partial(function, *arguments))
