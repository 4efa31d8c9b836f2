"""Whether what a worker answered can be an answer at all. A worker is a program of anybody's, and is not believed."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from diffprog.records import protocol
from diffprog.records.cells import Seconds

LONGEST = 2**24
"""Bytes of a line, at most: some hundred thousand samples."""
LEAST_ROOM = 2**30
"""Bytes that the arrays of any cell may have."""
OUTCOMES = ("unavailable", "unsupported", "out_of_memory", "error")
"""What a worker may say of a failure; the rest is the parent's to say."""
_KINDS: dict[type, type] = {
    protocol.Open: protocol.Ready,
    protocol.Prepare: protocol.Ready,
    protocol.Measure: protocol.Result,
    protocol.Sample: protocol.Sampled,
    protocol.Fit: protocol.Fitted,
}
_SLACK = 0.1
"""Seconds that the worker's clock may be ahead of the parent's, and the share of its times besides."""
_COUNT = 2**53
"""No count, of bytes, calls or work, is as large as this: beyond it a float64 of a table would not hold it."""
_TEXT = 4000
"""Characters of a text, at most."""
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def clean(text: str) -> str:
    """A worker's text for people: no control characters, and of a length that can be read."""
    text = text.translate(_CONTROLS).encode("utf-8", "replace").decode()
    return text if len(text) <= _TEXT else text[:_TEXT] + " …"


def wrong(
    request: protocol.Request,
    reply: protocol.Reply,
    passed: float,
    operator: str = "gradient",
    device: str = "",
    lived: float = math.inf,
) -> str:
    """What is wrong with a reply to a request that was sent ``passed`` seconds ago, or an empty string.

    ``operator`` and ``device`` are those of the cell that was prepared; the worker was started ``lived`` seconds ago.

    The reply to ``Open`` counts its time from the start of the process, and ``passed`` must too.
    """
    return next(iter(_wrong(request, reply, passed, operator, device, lived)), "")


def _wrong(
    request: protocol.Request, reply: protocol.Reply, passed: float, operator: str, device: str, lived: float
) -> Iterator[str]:
    if isinstance(reply, protocol.Phase):
        return
    if isinstance(reply, protocol.Step):
        if not isinstance(request, protocol.Fit) or not 0 <= reply.step <= request.steps:
            yield f"step {reply.step}, which nobody asked for"
        return
    if isinstance(reply, protocol.Failure):
        if reply.outcome not in OUTCOMES:
            yield f"a failure with outcome {reply.outcome!r}, which is none of {', '.join(OUTCOMES)}: {reply.reason}"
        return
    if not isinstance(reply, _KINDS.get(type(request), type(None))):
        yield f"{_name(reply)} to {_name(request)}"
        return
    most = passed * (1 + _SLACK) + _SLACK
    match reply:
        case protocol.Ready():
            yield from _of_time("seconds", reply.seconds, most)
            if reply.rates is not None:
                rates = reply.rates
                for name, rate in (("bandwidth", rates.bandwidth), ("flops", rates.flops), ("cache", rates.cache)):
                    if rate is not None and not (math.isfinite(rate) and rate > 0):
                        yield f"a rate of the device, {name}, of {rate:g}"
        case protocol.Sampled():
            yield from _of_time("a sample", reply.seconds, most, positive=True)
        case protocol.Fitted():
            yield from _of_time("seconds", reply.seconds, most)
            if reply.evaluations < 0:
                yield f"{reply.evaluations} evaluations"
        case protocol.Result() if isinstance(request, protocol.Measure):
            yield from _of_result(request, reply, most, operator, lived)
            if device == "cpu":
                yield from _of_no_gpu(reply)


def _name(message: protocol.Request | protocol.Reply) -> str:
    return f"`{type(message).__struct_config__.tag}`"


def _of_time(what: str, seconds: float | None, most: float, *, positive: bool = False) -> Iterator[str]:
    if seconds is None:
        return
    if not math.isfinite(seconds) or seconds < 0 or (positive and seconds == 0):
        yield f"{what} of {seconds:g} s: a time is positive and finite"
    elif seconds > most:
        yield f"{what} of {seconds:g} s, more than have passed"


def _of_no_gpu(result: protocol.Result) -> Iterator[str]:
    """What only a GPU can have taken."""
    seconds = result.seconds
    if result.gpu is not None or result.memory.device_peak is not None:
        yield "energy, clocks or memory of a GPU, of a cell on the CPU"
    if seconds.events_value or seconds.events_gradient:
        yield "samples by the events of a GPU, of a cell on the CPU"


def _of_result(
    request: protocol.Measure, result: protocol.Result, most: float, operator: str, lived: float
) -> Iterator[str]:
    seconds, samples = result.seconds, 0
    for field in msgspec.structs.fields(Seconds):
        found = getattr(seconds, field.name)
        if isinstance(found, list):
            for sample in found:
                yield from _of_time(f"a sample of {field.name}", sample, most, positive=True)
            samples += len(found)
        elif isinstance(found, float):
            earlier = field.name in ("setup", "import_")  # than this request
            yield from _of_time(field.encode_name, found, lived * (1 + _SLACK) + _SLACK if earlier else most)
        elif isinstance(found, int) and not 0 <= found < _COUNT:
            yield f"{field.name} of {found}"
    for phase in ("value",) if operator == "value" else ("value", "gradient"):
        if getattr(seconds, f"first_{phase}") is None:
            yield f"no time of the first call of the {phase}"
        taken = getattr(seconds, phase)
        if len(taken) < request.samples:
            yield f"{len(taken)} samples of {phase}, where at least {request.samples} were asked for"
        total = sum(taken) * max(1, getattr(seconds, f"loops_{phase}"))
        yield from _of_time(f"samples of {phase}, all calls together,", total, most)
    for name, bytes_ in msgspec.structs.asdict(result.memory).items():
        if bytes_ is not None and not 0 <= bytes_ < _COUNT:
            yield f"{name} of {bytes_} bytes"
    for name, count in result.invariants.items():
        if not 0 <= count < _COUNT:
            yield f"a count of work, {name}, of {count}"
    for name in ("finite_differences", "identity"):
        error, allowed = getattr(result, name), getattr(result, f"{name}_tolerance")
        if error is not None and not (allowed is not None and 0 <= error < math.inf and 0 < allowed < math.inf):
            yield f"{name} of {error} with {allowed} allowed"
    if result.gpu is not None:
        told = result.gpu
        numbers = [told.joules, told.energy_seconds, told.energy_calls, told.round_trips_value]
        numbers.append(told.round_trips_gradient)
        if any(number is not None and not 0 <= number < _COUNT for number in numbers):
            yield "an energy that is none"


def wrong_arrays(path: Path, operator: str, value: float | None, room: int = 0) -> str:
    """What is wrong with the file of a result, or an empty string; its numbers are judged elsewhere.

    Args:
        path: the file.
        operator: of the cell.
        value: what the result says the value is.
        room: bytes that the arrays may have, if more than `LEAST_ROOM`.
    """
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            return "the file of its arrays is no file"
        if (size := _unpacked(path)) > max(room, LEAST_ROOM):
            return f"its arrays would be {size / 2**30:.1f} GiB"
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return next(iter(_of_arrays(file, operator, value)), "")
    except FileNotFoundError:
        return "there is no file of its arrays"
    except Exception as error:  # a file of anybody's: zip, header and numbers may be wrong in any way
        return f"the file of its arrays cannot be read ({clean(str(error)) or type(error).__name__})"


def _unpacked(path: Path) -> int:
    """Bytes of the arrays in a file, as it says itself: of what is unpacked, and of what the headers ask for."""
    total = 0
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, kind = read(file)
            total += max(member.file_size, math.prod(shape) * kind.itemsize)
    return total


def _of_arrays(arrays: np.lib.npyio.NpzFile, operator: str, told: float | None) -> Iterator[str]:
    for name in ("value", operator):
        if name not in arrays.files:
            yield f"its arrays lack `{name}`"
            return
    for name in arrays.files:
        found = arrays[name]
        if found.dtype.kind not in "fiub" or (name in ("value", operator) and found.dtype.kind != "f"):
            yield f"its array `{name}` is of {found.dtype}: not of numbers that it could be"
            return
    value = arrays["value"]
    if value.shape != ():
        yield f"its array `value` has shape {value.shape}: it is one number"
    elif told is None and np.isfinite(value):
        yield f"its value is {float(value)!r} in the file and none in the answer"
    elif told is not None and not abs(told - float(value)) <= 1e-12 * max(1.0, abs(told)):
        yield f"its value is {float(value)!r} in the file and {told!r} in the answer"
