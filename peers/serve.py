"""The worker of a peer: ``python -m peers.serve NAME``. It speaks the suite's protocol, as far as peers need it."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from diffprog.measure import memory
from diffprog.records import npz, protocol
from diffprog.records.cells import Memory, Seconds
from diffprog.worker.serve import private_pipes, since_start

MODULES = {"lightning": "peers.lightning", "tensorcircuit": "peers.tensorcircuit_jax", "yao": "peers.yao"}
"""Each has ``VERSIONS`` and a class ``Call(config, inputs)``: ``value()`` is L, ``gradient()`` (L or None, dL/dθ).

A call is complete when it returns; what it returns may be the package's own numbers.
"""


def timed(call: Callable[[], Any], calls: int) -> tuple[float, Any]:
    """Seconds of one of so many calls, and what the last one gave."""
    start = time.perf_counter()
    for _ in range(calls):
        found = call()
    return (time.perf_counter() - start) / calls, found


class Served:
    """Carries out requests, one at a time."""

    def __init__(self, name: str) -> None:
        self._name = name

    def open(self, request: protocol.Open) -> protocol.Reply:
        if told := protocol.mismatch(request.protocol, protocol.VERSION):
            return protocol.Failure("error", told)
        if (request.device, request.precision) != ("cpu", "float64"):
            return protocol.Failure("unsupported", "peers are measured on the CPU in float64")
        try:
            self._module = importlib.import_module(MODULES[self._name])
        except ImportError as error:
            return protocol.Failure("unavailable", f"{self._name} cannot be imported ({error})")
        return protocol.Ready(since_start(), versions=self._module.VERSIONS, protocol=protocol.VERSION)

    def prepare(self, request: protocol.Prepare) -> protocol.Reply:
        if (request.task, request.variant, request.operator) != ("vqe", "heisenberg", "gradient"):
            return protocol.Failure("unsupported", f"{self._name} knows the gradient of vqe's heisenberg alone")
        start = time.perf_counter()
        with np.load(request.inputs) as file:
            self._call = self._module.Call(request.config, dict(file))
        return protocol.Ready(time.perf_counter() - start, made_with=self._name)

    def measure(self, request: protocol.Measure) -> protocol.Reply:
        """The answers, and the times of the first calls: samples are asked for one by one."""
        before = memory.reset_peak()
        first_value, alone = timed(self._call.value, 1)
        first_gradient, (with_it, slope) = timed(self._call.gradient, 1)
        value = np.float64(alone if with_it is None else with_it)
        gradient = np.array(slope, dtype=np.float64)
        arrays = {"value": np.asarray(value), protocol.VALUE_ALONE: np.asarray(np.float64(alone)), "gradient": gradient}
        npz.write(Path(request.arrays), arrays)
        seconds = Seconds(first_value=first_value, first_gradient=first_gradient)
        return protocol.Result(float(value), {}, seconds, Memory(host_before=before, host_peak=memory.peak()))

    def sample(self, request: protocol.Sample) -> protocol.Reply:
        call = self._call.gradient if request.phase == "gradient" else self._call.value
        if request.calls > 1:
            call()  # as in the suite's workers: the caches are this one's own from here on
        return protocol.Sampled(timed(call, request.calls)[0])

    def answer(self, request: protocol.Request) -> protocol.Reply:
        try:
            match request:
                case protocol.Open():
                    return self.open(request)
                case protocol.Prepare():
                    return self.prepare(request)
                case protocol.Measure():
                    return self.measure(request)
                case protocol.Sample():
                    return self.sample(request)
            return protocol.Failure("unsupported", "a peer is not fitted")
        except Exception as error:  # whatever a package throws is told where its times would stand
            return protocol.Failure("error", f"{type(error).__name__}: {error}".strip())


def main() -> None:
    served = Served(sys.argv[1])
    requests, replies = private_pipes()
    for line in requests:
        request = protocol.decode_request(line)
        if isinstance(request, protocol.Quit):
            break
        replies.write(protocol.encode(served.answer(request)) + b"\n")
        replies.flush()


if __name__ == "__main__":
    main()
