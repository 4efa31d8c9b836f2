"""Events, waits and graphs of CUDA: what is decided here, with a fake of ``torch.cuda``."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from diffprog import tasks
from diffprog.backends import torch_cuda
from diffprog.engines import ON_CUDA
from diffprog.spec import Case


class Device:
    """Notes what happens; its clock is that of the work done on it."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.now, self.mode, self.always, self.recording = 0.0, "default", False, False
        self.cuda = SimpleNamespace(
            Event=self.event, Stream=self.stream, current_stream=self.stream, stream=self.within, graph=self.graph,
            CUDAGraph=self.new_graph, set_sync_debug_mode=self.set_mode,
        )  # fmt: skip

    def event(self, *, enable_timing: bool) -> Any:
        assert enable_timing
        made = SimpleNamespace(at=None, complete=False)

        def record() -> None:
            self.log.append("record")
            made.at = self.now

        def elapsed(other: Any) -> float:
            assert other.complete
            return float(other.at - made.at)

        def wait() -> None:
            self.log.append("wait")
            made.complete = True

        made.record, made.elapsed_time, made.synchronize = record, elapsed, wait
        return made

    def stream(self) -> Any:
        return SimpleNamespace(wait_stream=lambda other: self.log.append("wait"))

    def within(self, stream: Any) -> Any:
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def graph(self, graph: Any) -> Iterator[None]:
        self.recording = True
        yield
        self.recording = False

    def new_graph(self) -> Any:
        return SimpleNamespace(replay=lambda: self.log.append("replay"))

    def set_mode(self, mode: str) -> None:
        self.mode = mode

    def is_warn_always_enabled(self) -> bool:
        return self.always

    def set_warn_always(self, on: bool) -> None:
        self.always = on


def test_events_enclose_each_call_and_are_waited_for() -> None:
    device = Device()

    def call() -> None:
        device.log.append("call")
        device.now += 3.0

    assert torch_cuda.by_events(device, call)(2) == pytest.approx(6e-3)
    assert device.log == ["record", "call", "record", "wait"] * 2


def test_waits_are_counted_and_the_switches_put_back() -> None:
    device = Device()

    def call() -> None:
        assert (device.mode, device.always) == ("warn", True)
        for text in (torch_cuda.WAITED, "another", torch_cuda.WAITED):
            warnings.warn(f"{text} (from somewhere)", UserWarning, stacklevel=1)

    assert torch_cuda.round_trips(device, call) == 2
    assert (device.mode, device.always) == ("default", False)
    with pytest.raises(ZeroDivisionError):
        torch_cuda.round_trips(device, lambda: 1 / 0)
    assert device.mode == "default"


def test_a_graph_is_warmed_up_recorded_once_and_replayed() -> None:
    device = Device()

    def function(x: str) -> str:
        device.log.append("recorded" if device.recording else "called")
        return x.upper()

    replayed = torch_cuda.captured(device, function)
    assert device.log == []
    assert [replayed("a"), replayed("a")] == ["A", "A"]
    assert device.log == ["wait", *["called"] * torch_cuda.WARM_UP, "wait", "recorded", "replay", "replay"]


def test_a_graph_that_cannot_be_recorded_is_not_replayed() -> None:
    device = Device()

    def function() -> None:
        if device.recording:
            raise RuntimeError("operation not permitted when stream is capturing")

    replayed = torch_cuda.captured(device, function)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="not permitted"):
            replayed()
    assert "replay" not in device.log


def test_where_there_are_no_graphs_is_declared() -> None:
    flow, trg = Case("flow", "density", "tiny", 0), Case("trg", "classic", "tiny", 0)

    def limit(case: Case, method: str, operator: str, device: str) -> str:
        return tasks.limit(tasks.cell(case, "torch", method, operator, "float64", device, "cudagraph"))

    assert limit(flow, "discrete", "gradient", "cpu") == ON_CUDA
    assert limit(flow, "discrete", "gradient", "cuda") == ""
    assert "status" in limit(trg, "reverse", "hvp", "cuda")


@pytest.mark.parametrize(
    ("backend", "variant", "size", "failed"),
    [
        ("torch", "ground_state", "tiny", False),
        ("torch", "ground_state", "small", True),
        ("torch", "spectrum", "tiny", False),
        ("torch", "long_chain", "tiny", True),
        ("torch", "long_chain", "medium", True),
        ("jax", "ground_state", "small", True),
        ("jax", "long_chain", "tiny", False),
        ("jax", "long_chain", "small", True),
    ],
)
def test_what_tf32_was_seen_to_fail_on_is_declared_and_no_more(
    backend: str, variant: str, size: str, failed: bool
) -> None:
    cell = tasks.cell(Case("eigensolver", variant, size, 0), backend, "dominant", "gradient", "tf32", "cuda")
    assert bool(tasks.limit(cell)) == failed
    assert tasks.limit(replace(cell, precision="float32")) == tasks.limit(replace(cell, method="dense")) == ""


def test_inductor_and_complex_constants() -> None:
    compiled = tasks.cell(Case("qcbm", "gaussian", "tiny", 0), "torch", "reverse", "hvp", "float64", "cuda", "compile")
    assert "complex" in tasks.limit(compiled)
    assert tasks.limit(replace(compiled, device="cpu")) == tasks.limit(replace(compiled, operator="jvp")) == ""
