"""The worker of a peer: ``python -m peers.serve NAME``. It speaks the suite's protocol, as far as peers need it."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO

import numpy as np

from diffprog.errors import Unavailable, Unsupported
from diffprog.measure import clock, memory
from diffprog.records import npz, protocol
from diffprog.records.cells import Memory, Seconds
from diffprog.worker import serve

MODULES = {"lightning": "peers.lightning", "tensorcircuit": "peers.tensorcircuit_jax", "yao": "peers.yao"}
"""Each has ``VERSIONS`` and a class ``Call(config, inputs)``: ``value()`` is L, ``gradient()`` (L or None, dL/dθ).

A call is complete when it returns; what it returns may be the package's own numbers.
"""


def complete(result: Any) -> None:
    """Waits for a result of a peer, which needs no waiting."""


class Peer(serve.Worker):
    """The suite's worker with a public package in the place of a backend."""

    def __init__(self, name: str, replies: BinaryIO) -> None:
        super().__init__(replies)
        self._name = name

    def open(self, request: protocol.Open) -> protocol.Reply:
        if told := protocol.mismatch(request.protocol, protocol.VERSION):
            return protocol.Failure("error", told)
        if (request.device, request.precision) != ("cpu", "float64"):
            raise Unsupported("peers are measured on the CPU in float64")
        try:
            self._module = importlib.import_module(MODULES[self._name])
        except ImportError as error:
            raise Unavailable(f"{self._name} cannot be imported ({error})", "nox -s peers") from error
        return protocol.Ready(serve.since_start(), versions=self._module.VERSIONS, protocol=protocol.VERSION)

    def prepare(self, request: protocol.Prepare) -> protocol.Reply:
        if (request.task, request.variant, request.operator) != ("vqe", "heisenberg", "gradient"):
            raise Unsupported(f"{self._name} knows the gradient of vqe's heisenberg alone")
        start = perf_counter()
        with np.load(request.inputs) as file:
            self._call = self._module.Call(request.config, dict(file))
        return protocol.Ready(perf_counter() - start, made_with=self._name)

    def measure(self, request: protocol.Measure) -> protocol.Reply:
        """The answers, and the times of the first calls: samples are asked for one by one."""
        before = memory.reset_peak()
        first_value, alone = clock.timed(self._call.value, complete)
        first_gradient, (with_it, slope) = clock.timed(self._call.gradient, complete)
        value = float(alone if with_it is None else with_it)
        arrays = {"value": np.array(value), protocol.VALUE_ALONE: np.array(float(alone))}
        npz.write(Path(request.arrays), arrays | {"gradient": np.array(slope, dtype=np.float64)})
        seconds = Seconds(first_value=first_value, first_gradient=first_gradient)
        return protocol.Result(value, {}, seconds, Memory(host_before=before, host_peak=memory.peak()))

    def looped(self, phase: str) -> clock.Run:
        return clock.looped(self._call.gradient if phase == "gradient" else self._call.value, complete)

    def fit(self, request: protocol.Fit) -> protocol.Reply:
        raise Unsupported("peers are not fitted")


def main() -> None:
    serve.main(partial(Peer, sys.argv[1]))


if __name__ == "__main__":
    main()
