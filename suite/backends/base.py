"""What the worker asks of a backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

from suite.spec import Array, Arrays


class Unavailable(Exception):
    """The backend cannot be used on this machine. ``mend`` is the command that would change that."""

    def __init__(self, reason: str, mend: str = "") -> None:
        super().__init__(reason)
        self.mend = mend


class Unsupported(Exception):
    """The backend works, but has no such cell; the text is the reason."""


@dataclass(frozen=True)
class Prepared:
    """One cell, ready to run: every input is on the device and nothing is left to convert.

    ``value`` and ``gradient`` start the work and return the framework's own result; ``synchronise(result)`` returns
    when that result is complete. ``fetch`` brings ``(value, gradient)`` to the host as float and array (P,).
    ``value_at(θ)`` is the value at other parameters, given and returned on the host: for finite differences.
    ``value_by_hand(n)`` and ``gradient_by_hand(n)`` call the bare function n times the way a user would, each call
    complete before the next, and return the seconds it took: the yardstick for what the harness costs.
    """

    value: Callable[[], Any]
    gradient: Callable[[], Any]
    synchronise: Callable[[Any], None]
    fetch_value: Callable[[Any], float]
    fetch: Callable[[Any], tuple[float, Any]]
    value_at: Callable[[Array], float]
    outputs: Callable[[], Arrays]
    work: Callable[[], dict[str, int]]
    value_by_hand: Callable[[int], float]
    gradient_by_hand: Callable[[int], float]
    engine: str


class Adam(Protocol):
    """The framework's own Adam (β = 0.9, 0.999; ε = 1e-8), with its state on the device."""

    def step(self, batch: int) -> float:
        """One update on a minibatch; returns the objective before it."""

    def theta(self) -> Array:
        """The parameters now, on the host."""


@dataclass(frozen=True)
class Trainer:
    """A cell for optimisers: the objective L(θ) − s·θ on each of its ``batches`` minibatches.

    ``gradient_at(θ, batch)`` is the objective and its gradient (P,), given and returned on the host;
    ``outputs_at(θ)`` are the task's outputs on the case's own data; ``adam(θ, rate)`` starts an optimiser.
    """

    batches: int
    gradient_at: Callable[[Array, int], tuple[float, Array]]
    outputs_at: Callable[[Array], Arrays]
    adam: Callable[[Array, float], Adam]
    engine: str


class Backend(Protocol):
    """A framework within one worker process."""

    name: str

    def open(self, precision: str, device: str, threads: int) -> None:
        """Imports the framework and sets precision, device and threads.

        Raises:
            Unavailable: if the framework or device is not there.
            Unsupported: if the backend never computes on such a device.
        """

    def prepare(self, task: str, config: Any, method: str, inputs: Arrays) -> Prepared:
        """Moves the float64 host ``inputs`` to the device in the opened precision and builds the cell.

        Raises:
            Unsupported: if this backend has no such method.
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
        """Precision and thread switches as they are now, read back from the framework."""

    def device_peak(self) -> int | None:
        """Peak device memory in bytes since ``prepare``, or None on the host."""


def in_precision(inputs: Arrays, precision: str) -> Arrays:
    """The inputs with every floating array in ``precision``; integer arrays as they are."""
    return {name: array.astype(precision) if array.dtype.kind == "f" else array for name, array in inputs.items()}


def by_hand(function: Callable[[Any, Any], Any], theta: Any, data: Any) -> Callable[[int], float]:
    """The bare loop for a framework whose calls return finished results."""

    def run(calls: int) -> float:
        start = perf_counter()
        for _ in range(calls):
            function(theta, data)
        return perf_counter() - start

    return run
