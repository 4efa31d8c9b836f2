"""A worker that pretends to be on a GPU: NumPy on the CPU under all backends' names; ``cuda_worker.py FAULT``."""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Any

import msgspec

from diffprog import backends
from diffprog.measure import gpu
from diffprog.records import protocol
from diffprog.records.cells import GpuState
from diffprog.worker import serve as worker

fault = sys.argv[1]


class Monitor(gpu.Monitor):
    def __init__(self) -> None:
        pass

    def state(self, when: str) -> GpuState:
        return GpuState(when=when, celsius=50)

    def joules(self) -> None:
        return None


class Pretending(worker.Worker):
    device = ""

    def open(self, request: protocol.Open) -> protocol.Reply:
        self.device = request.device
        if fault == "absent" and request.device == "cuda":
            return protocol.Failure("unavailable", "there is no GPU")
        reply = super().open(msgspec.structs.replace(request, device="cpu"))
        if request.device == "cuda" and isinstance(reply, protocol.Ready):
            self.monitor = Monitor()
            versions = {"process": str(os.getpid()), "gpu": "a GPU of paper"}
            return msgspec.structs.replace(reply, versions=versions, switches={"tf32": "no"})
        return reply

    def prepare(self, request: protocol.Prepare) -> protocol.Reply:
        reply = super().prepare(request)
        if self.device == "cuda" and isinstance(reply, protocol.Ready):
            return msgspec.structs.replace(reply, switches={"svd": "on paper"})
        return reply

    def measure(self, request: protocol.Measure) -> protocol.Reply:
        if self.device == "cuda" and fault == "wrong":
            fetch = self.prepared.fetch

            def fetch_wrong(result: Any) -> tuple[float, Any]:
                value, gradient = fetch(result)
                return value, gradient * gradient.dtype.type(1.01)

            self.prepared = dataclasses.replace(self.prepared, fetch=fetch_wrong)
        return super().measure(request)


numpy = backends.get("numpy")
backends.get = lambda name: numpy
worker.main(Pretending)
