"""The worker: ``python -m diffprog.worker.serve``, started afresh for each task, backend, device and precision."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO

import msgspec
import numpy as np
from threadpoolctl import threadpool_info

from diffprog import backends, tasks
from diffprog.backends.base import Ask, Backend, Prepared
from diffprog.declaration import Task
from diffprog.errors import Unavailable, Unsupported
from diffprog.measure import clock, gpu, memory, rates
from diffprog.models import checking, loading
from diffprog.models.declaring import ModelConfig
from diffprog.models.loading import FILES, Fault
from diffprog.records import npz, protocol
from diffprog.records.cells import Gpu, Memory, Seconds
from diffprog.spec import Arrays, dtype
from diffprog.worker import answers, fitting, steady
from diffprog.worker.evidence import Evidence


class Worker:
    """Carries out requests, one at a time, on the main thread."""

    def __init__(self, replies: BinaryIO) -> None:
        self.replies = replies
        self.backend: Backend
        self.prepared: Prepared
        self.evidence: Evidence
        self.monitor: gpu.Monitor | None = None
        self.inputs: Arrays
        self.setup = 0.0
        self.host_before = 0

    def say(self, reply: protocol.Reply) -> None:
        self.replies.write(protocol.encode(reply) + b"\n")
        self.replies.flush()

    def open(self, request: protocol.Open) -> protocol.Reply:
        if told := protocol.mismatch(request.protocol, protocol.VERSION):
            return protocol.Failure("error", told)
        self.say(protocol.Phase("import"))
        self.backend = backends.get(request.backend)
        if request.precision == "tf32" and request.device != "cuda":
            raise Unsupported(f"tf32 is a mode of NVIDIA's matrix units: there is none on {request.device}")
        self.double = request.precision == "float64"
        self.backend.open(request.precision, request.device, request.threads)
        self.eps = float(np.finfo(dtype(request.precision)).eps)
        seconds = since_start()
        used = self.backend.threads() | {
            f"{p['internal_api']} {p['filepath']}": p["num_threads"] for p in threadpool_info()
        }
        if told := "; ".join(f"{name} has {count} threads" for name, count in used.items() if count > request.threads):
            return protocol.Failure("error", f"more threads than the {request.threads} of --threads: {told}")
        versions, switches = self.backend.versions(), self.backend.switches()
        if request.device == "cuda" and (monitor := gpu.connect()) is not None:
            self.monitor = monitor
            versions, switches = versions | monitor.versions(), switches | monitor.switches()
        found = None
        if request.rates > 0:
            self.say(protocol.Phase("rates of the device"))
            found = rates.measure(self.backend.probes(), np.dtype(dtype(request.precision)).itemsize, request.rates)
        return protocol.Ready(seconds, versions=versions, switches=switches, protocol=protocol.VERSION, rates=found)

    def prepare(self, request: protocol.Prepare) -> protocol.Reply:
        self.say(protocol.Phase("set-up"))
        if hasattr(self, "prepared"):
            del self.prepared, self.evidence  # what the cell before it held is not this one's
        self.host_before = memory.reset_peak()
        start = perf_counter()
        with np.load(request.inputs) as file:
            self.inputs = {name: file[name] for name in file.files}
        task, config = declared(request)
        if request.overrides:
            config = dataclasses.replace(config, **request.overrides)
        directions = self.inputs.pop("directions")
        self.operator, self.engine, self.of_a_user = request.operator, request.engine, task.folder is not None
        self.file = Path(request.folder) / FILES.get(self.backend.name, "")
        self.checked = partial(checking.real, where=self.file) if self.of_a_user else dict
        ask = Ask(request.operator, request.engine, directions[0])
        self.prepared = self.backend.prepare(request.task, config, request.method, self.inputs, ask)
        self.evidence = Evidence(
            self.prepared, task, config, self.operator, self.inputs["params"], directions, double=self.double
        )
        self.setup = perf_counter() - start
        return protocol.Ready(self.setup, made_with=self.prepared.made_with, switches=self.prepared.switches)

    def measure(self, request: protocol.Measure) -> protocol.Reply:
        with self.prepared.faults():
            return self._measured(request)

    def _measured(self, request: protocol.Measure) -> protocol.Reply:
        cell = self.prepared
        self.say(protocol.Phase("first call"))
        first_value, result = clock.timed(cell.value, cell.synchronise)
        arrays = answers.of_value(cell, result, "value" if self.operator == "value" else protocol.VALUE_ALONE)
        first_gradient = None
        if self.operator != "value":
            first_gradient, result = clock.timed(cell.derivative, cell.synchronise)
            value, arrays[self.operator] = cell.fetch(result)
            arrays["value"] = np.asarray(value)
            arrays[self.operator] = np.array(arrays[self.operator])  # a copy: later calls may write where this one did
        del result
        value = float(arrays["value"])
        if self.of_a_user and not np.isfinite(value):
            raise Fault(checking.NOT_FINITE.format(where=self.file, value=value))
        seconds, told = Seconds(), Gpu()
        if request.samples:
            self.say(protocol.Phase("sampling"))
            seconds, told = steady.take(cell, self.operator, request.samples, request.seconds, self.monitor)
        used = Memory(host_before=self.host_before, host_peak=memory.peak(), device_peak=self.backend.device_peak())
        self.say(protocol.Phase("checking"))
        if request.samples:
            arrays |= answers.after_sampling(cell, self.operator, arrays, may_keep=self.engine == "cudagraph")
            theta, direction = self.inputs["params"], self.evidence.nearby()
            answers.still_computed(cell, self.operator, arrays, theta, direction, self.eps)
        evidence = self.evidence.found(arrays, request.directions)
        invariants = cell.work()
        arrays |= answers.outputs(cell, self.checked)
        save(Path(request.arrays), arrays)
        return protocol.Result(
            value=value if np.isfinite(value) else None,
            invariants=invariants,
            seconds=msgspec.structs.replace(
                seconds, setup=self.setup, first_value=first_value, first_gradient=first_gradient
            ),
            memory=used,
            gpu=None if told == Gpu() else told,
            **evidence,
        )

    def looped(self, phase: str) -> clock.Run:
        """What a sample of a phase is taken of."""
        call = self.prepared.derivative if phase == "gradient" else self.prepared.value
        return clock.looped(call, self.prepared.synchronise)

    def sample(self, request: protocol.Sample) -> protocol.Reply:
        run = self.looped(request.phase)
        if request.calls > 1:
            run(1)  # as in `clock.sample`: the caches are this run's own from here on
        return protocol.Sampled(run(request.calls) / request.calls)

    def fit(self, request: protocol.Fit) -> protocol.Reply:
        self.say(protocol.Phase("set-up"))
        with np.load(request.inputs) as file:
            inputs = {name: file[name] for name in file.files}
        _, config = declared(request)
        source = inputs.get("fit_source", np.zeros_like(inputs["params"]))
        batches = fitting.minibatches(inputs)
        trainer = self.backend.trainer(request.task, config, request.method, batches, source)
        self.say(protocol.Phase("first call"))

        def on_step(step: int, loss: float, seconds: float) -> None:
            self.say(protocol.Step(step, loss, seconds))

        running = fitting.Fitting(trainer, inputs, Path(request.arrays), on_step)
        with trainer.faults():
            message = running.run(request.optimiser, request.steps, request.rate)
        return protocol.Fitted(trainer.made_with, running.seconds, running.evaluations, message)

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
                case protocol.Fit():
                    return self.fit(request)
                case protocol.Quit():
                    raise SystemExit
        except Unavailable as error:
            return protocol.Failure("unavailable", str(error), error.mend)
        except Unsupported as error:
            return protocol.Failure("unsupported", str(error))
        except (fitting.NotFinite, answers.Kept, Fault) as error:
            return protocol.Failure("error", str(error))
        except MemoryError as error:
            return protocol.Failure("out_of_memory", str(error) or "MemoryError")
        except Exception as error:  # whatever a framework throws becomes this cell's outcome
            import traceback

            with contextlib.suppress(OSError):  # the log may lie on the disk that is full
                traceback.print_exc()
            text = f"{type(error).__name__}: {error}".strip()
            home = self.file.parent if getattr(self, "of_a_user", False) else getattr(request, "folder", "")
            if home:
                text = loading.told(error, Path(home))
            return protocol.Failure("out_of_memory" if _is_out_of_memory(text) else "error", text)


def declared(request: protocol.Prepare | protocol.Fit) -> tuple[Task, Any]:
    """The task of a request and its configuration; a user's model is told by the parent, which has drawn its inputs."""
    if not request.folder:
        task = tasks.get(request.task)
        return task, task.configure(request.variant, request.size)
    loading.settle(Path(request.folder))
    return tasks.add(Path(request.folder)), ModelConfig(**request.config)  # type: ignore[arg-type]  # strings all


def save(path: Path, arrays: Arrays) -> None:
    """Writes a result's arrays; a file that could not be written whole does not stay.

    Raises:
        OSError: saying what there was no room for.
    """
    try:
        npz.write(path, arrays)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        need = sum(array.nbytes for array in arrays.values())
        raise OSError(error.errno, f"{error.strerror or error}: the result's {need} bytes", str(path)) from error


IMPORTED = perf_counter()
"""When this module was imported, for workers that nobody said when they were started."""


def since_start() -> float:
    """Seconds since the parent started this process: by the one monotonic clock that all processes share."""
    try:
        started = float(os.environ["DIFFPROG_STARTED"])
    except (KeyError, ValueError):
        started = IMPORTED
    return perf_counter() - started


def _is_out_of_memory(text: str) -> bool:
    """Frameworks say it each in their own words."""
    words = ("OutOfMemoryError", "RESOURCE_EXHAUSTED", "can't allocate memory", "out of memory", "Unable to allocate")
    return any(word.lower() in text.lower() for word in words)


def private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes for requests and replies, out of every framework's reach.

    From now on descriptor 0 is empty and descriptor 1 is standard error, for all that print. Julia's event loop makes
    the standard input it finds non-blocking, which would look like the end of the requests.
    """
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as empty:  # noqa: PTH123 - a descriptor is wanted
        os.dup2(empty.fileno(), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return requests, replies


def die_with_parent() -> None:
    """Where the system can, ends this process when its parent does: a hung cell must not outlive a killed run."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main(make: Callable[[BinaryIO], Worker] = Worker) -> None:
    """Serves until it is told to quit; ``make`` is given the pipe for replies."""
    die_with_parent()
    requests, replies = private_pipes()
    worker = make(replies)
    for line in requests:
        worker.say(worker.answer(protocol.decode_request(line)))


if __name__ == "__main__":
    main()
