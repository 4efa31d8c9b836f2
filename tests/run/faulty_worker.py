"""A real worker that fails on purpose: ``faulty_worker.py FAULT METHOD`` goes wrong when it measures that method."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import sys
import time
from functools import partial
from typing import Any

import numpy as np

from diffprog.records import npz, protocol
from diffprog.worker import serve as worker

fault, method = sys.argv[1:]


def full(path: Any, arrays: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Faulty(worker.Worker):
    method = ""

    def prepare(self, request: protocol.Prepare) -> protocol.Reply:
        self.method = request.method
        return super().prepare(request)

    def measure(self, request: protocol.Measure) -> protocol.Reply:
        if self.method == method:
            self.go_wrong()
        return super().measure(request)

    def go_wrong(self) -> None:
        match fault:
            case "SIGSEGV" | "SIGKILL":
                os.kill(os.getpid(), signal.Signals[fault])
            case "hang":
                time.sleep(3600)
            case "exit":
                print("so long", file=sys.stderr)
                os._exit(7)
            case "nonsense":
                self.replies.write(b"what?\n")
                self.replies.flush()
                time.sleep(3600)
            case "exception":
                raise RuntimeError("the sky fell")
            case "memory":
                np.zeros(2**50)
            case "disk":
                os.dup2(os.open("/dev/full", os.O_WRONLY), 2)  # the log lies on it too
                npz.write = full
            case "NaN" | "sign" | "work":
                self.corrupt()
            case "value NaN" | "value 0" | "value float32" | "late value" | "late gradient":
                self.spoil_what_is_timed()
            case "kept" | "kept value" | "kept float" | "kept part":
                self.spoil_what_is_timed()
            case "copied" | "copied value" | "copied part" | "by id":
                self.copy_what_is_timed()
            case _:
                self.spoil_outputs()

    def spoil_what_is_timed(self) -> None:
        """The checks of the derivative see nothing of this: it is right, at first."""
        right, calls = self.prepared, 0

        def late(result: Any, wrong: Any) -> Any:
            nonlocal calls
            calls += 1
            return result if calls < 10 else wrong

        def gradient() -> Any:
            value, slope = right.derivative()
            return value, late(slope, 2 * slope)

        memory = [right.derivative(), right.value()]
        made: dict[str, Any] = {
            "value NaN": {"value": lambda: np.float64("nan")},
            "value 0": {"value": lambda: np.float64(0)},
            "value float32": {"value": lambda: np.float64(np.float32(right.value()))},
            "late value": {"value": lambda: late(right.value(), np.float64("inf"))},
            "late gradient": {"derivative": gradient},
            "kept": {"derivative": lambda: memory[0]},
            "kept value": {"value": lambda: memory[1]},
            "kept float": {"value": lambda number=float(memory[1]): number},
            "kept part": {"derivative": lambda: (float(right.derivative()[0]), memory[0][1])},
        }
        self.prepared = dataclasses.replace(right, **made[fault])

    def copy_what_is_timed(self) -> None:
        """A memory that nothing can be told by: each call has a copy of what the first one computed."""
        right: Any = self.prepared
        (value, slope), alone, by_id = right.derivative(), right.value(), dict[int, Any]()

        def keyed(theta: Any, data: Any) -> Any:
            if id(theta) not in by_id:
                by_id[id(theta)] = right.value.func(theta, data)
            return by_id[id(theta)] * 1

        made: dict[str, tuple[str, Any]] = {
            "copied": ("derivative", lambda *_: (value * 1, slope * 1)),
            "copied part": ("derivative", lambda *given: (right.derivative.func(*given)[0], slope * 1)),
            "copied value": ("value", lambda *_: alone * 1),
            "by id": ("value", keyed),
        }
        name, function = made[fault]
        timed = partial(function, *getattr(right, name).args)
        self.prepared = dataclasses.replace(right, **{name: timed})

    def spoil_outputs(self) -> None:
        found = self.prepared.outputs()
        latent = found["latent"]
        made: dict[str, Any] = {
            "outputs reversed": {"latent": latent[::-1]},
            "outputs float16": {"latent": latent.astype(np.float16)},
            "outputs NaN": {"log_density": found["log_density"] * np.nan},
            "outputs cut": {"log_density": found["log_density"][:-1]},
            "outputs gradient": {"gradient": np.zeros(4)},
            "outputs value": {"value": np.zeros(())},
            "outputs invented": {"more": np.zeros(3)},
        }
        self.prepared = dataclasses.replace(self.prepared, outputs=lambda: found | made[fault])

    def corrupt(self) -> None:
        fetch, work = self.prepared.fetch, self.prepared.work

        def fetch_corrupted(result: Any) -> tuple[float, Any]:
            value, gradient = fetch(result)
            gradient = -gradient if fault == "sign" else gradient.copy()
            if fault == "NaN":
                gradient[1] = np.nan
            return value, gradient

        changed: dict[str, Any] = {"fetch": fetch_corrupted}
        if fault == "work":
            changed = {"work": lambda: work() | {"steps": 9}}
        self.prepared = dataclasses.replace(self.prepared, **changed)


worker.main(Faulty)
