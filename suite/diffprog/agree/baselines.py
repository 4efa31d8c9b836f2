"""Baselines: golden values and derivatives on disk, and what has regressed against them. Times are no part of them.

One JSON file a task. Arrays are float64, little-endian, deflated, in base64, so that they come back bit for bit; the
file's digest is over all else in it, so that a baseline edited by hand is not believed.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from diffprog import tasks
from diffprog.agree import errors
from diffprog.errors import UsageError
from diffprog.measure.norms import norm
from diffprog.spec import Array, Arrays, Case

SCHEMA = 1
SAME = 1e-10
"""Relative to an input's norm: a fingerprint that differs by more is that of another input."""


class Fingerprint(msgspec.Struct, frozen=True):
    """An input array, to rounding and not to the bit: some are made by LAPACK, whose last bits are the CPU's."""

    shape: tuple[int, ...]
    dtype: str
    norm: float
    projection: float


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """The right answers of one case."""

    variant: str
    size: str
    seed: int
    inputs: dict[str, Fingerprint]
    """Of each input; others mean that the baseline is stale."""
    value: float
    derivatives: dict[str, str]
    """By operator (gradient, jvp, hvp): the array, encoded."""


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """A file of golden answers."""

    schema: int = SCHEMA
    task: str
    written: str
    """UTC, ISO 8601."""
    provenance: dict[str, str]
    cases: list[Golden]
    digest: str = ""


@dataclass(frozen=True)
class Regression:
    """A computed answer that is not the golden one: ``error`` relative L2 (a value's: relative to max(1, |L|))."""

    cell: str
    what: str
    error: float
    tolerance: float
    component: str = ""

    def __str__(self) -> str:
        worst = f", worst at {self.component}" if self.component else ""
        size = f"{self.error:.2e} (at most {self.tolerance:.1e})"
        return f"{self.cell}: the {self.what} is off the baseline by {size}{worst}"


def encode(array: Array) -> str:
    """An array of any shape as text; its shape is not kept."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array, "<f8").tobytes(), 9)).decode("ascii")


def decode(text: str) -> Array:
    """The array (n,) of a text.

    Raises:
        ValueError: if it is damaged.
    """
    try:
        return np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), "<f8")
    except zlib.error as error:
        raise ValueError(str(error)) from error


def fingerprints(inputs: Arrays) -> dict[str, Fingerprint]:
    """What tells whether inputs are still the same, by name."""
    return {name: _fingerprint(np.ascontiguousarray(array)) for name, array in sorted(inputs.items())}


def _fingerprint(array: Array) -> Fingerprint:
    flat = (array.view(array.real.dtype) if array.dtype.kind == "c" else array).astype(np.float64).ravel()
    weights = np.cos(np.arange(flat.size) ** 2)  # of no symmetry: exchanged entries show
    return Fingerprint(array.shape, array.dtype.str, float(np.linalg.norm(flat)), float(weights @ flat))


def _same(old: dict[str, Fingerprint], new: dict[str, Fingerprint]) -> bool:
    return old.keys() == new.keys() and all(
        (one.shape, one.dtype) == (other.shape, other.dtype)
        and abs(one.norm - other.norm) <= SAME * one.norm
        and abs(one.projection - other.projection) <= SAME * one.norm
        for one, other in ((old[name], new[name]) for name in old)
    )


def _digest(baseline: Baseline) -> str:
    blank = msgspec.structs.replace(baseline, digest="")
    return hashlib.sha256(msgspec.json.encode(blank, order="deterministic")).hexdigest()


def path(folder: Path, task: str) -> Path:
    """Where a task's baseline lies."""
    return folder / f"{task}.json"


def write(folder: Path, baseline: Baseline) -> Path:
    """Writes a baseline, whole or not at all, and returns its path.

    Raises:
        UsageError: if it cannot be written.
    """
    signed = msgspec.structs.replace(baseline, digest=_digest(baseline))
    target = path(folder, baseline.task)
    text = msgspec.json.format(msgspec.json.encode(signed, order="deterministic"), indent=1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(target.name + ".partial")
        draft.write_bytes(text + b"\n")
        draft.replace(target)
    except OSError as error:
        raise UsageError(f"the baseline {target} cannot be written ({error})") from error
    return target


class _Version(msgspec.Struct):
    schema: int


def read(folder: Path, task: str) -> Baseline:
    """The baseline of a task.

    Raises:
        UsageError: if there is none, or it is truncated, damaged, edited by hand, or of another schema version.
    """
    source = path(folder, task)
    try:
        text = source.read_bytes()
        schema = msgspec.json.decode(text, type=_Version).schema
        found = msgspec.json.decode(text, type=Baseline) if schema == SCHEMA else None
    except FileNotFoundError:
        raise UsageError(f"there is no baseline {source}: write one with `diffprog baseline write`") from None
    except OSError as error:
        raise UsageError(f"cannot read the baseline {source}: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the baseline {source} is truncated or damaged ({error})") from error
    if found is None:
        age = "a newer" if schema > SCHEMA else "an older"
        raise UsageError(f"the baseline {source} is of {age} schema, {schema}; this suite reads version {SCHEMA}")
    if found.digest != _digest(found):
        raise UsageError(
            f"the baseline {source} was edited by hand: its digest does not fit; "
            "`diffprog baseline write` makes a new one"
        )
    if found.task != task:
        raise UsageError(f"the baseline {source} is of the task {found.task!r}")
    return found


def golden(baseline: Baseline, case: Case, inputs: Arrays) -> tuple[float, Arrays] | None:
    """The golden value and derivatives by operator; None if the baseline has no such case.

    Raises:
        UsageError: if the case is stale: drawn otherwise than when it was written, or with other parameters.
    """
    wanted = (case.variant, case.size, case.seed)
    entry = next((one for one in baseline.cases if (one.variant, one.size, one.seed) == wanted), None)
    if entry is None:
        return None
    if not _same(entry.inputs, fingerprints(inputs)):
        raise UsageError(
            f"the baseline of {case.key} is stale: the suite draws other inputs now than on {baseline.written}; "
            "if that is meant, `diffprog baseline write` makes a new one"
        )
    try:
        return entry.value, {name: decode(text) for name, text in entry.derivatives.items()}
    except ValueError as error:
        raise UsageError(f"the baseline of {case.key} is damaged ({error})") from error


def compare(
    case: Case, cell: str, operator: str, found: Arrays, right: tuple[float, Arrays], tolerance: float
) -> list[Regression]:
    """What has regressed in one cell: its value, its derivative, or both.

    Args:
        found: the cell's arrays, ``value`` and the operator's.
        right: the golden value and derivatives.
        tolerance: of the cell, as it was judged.
    """
    value, derivatives = right
    task = tasks.get(case.task)
    layout = task.layout(task.configure(case.variant, case.size))
    regressions = []
    error = errors.of_value(float(found["value"]), value)
    if not error <= tolerance:
        regressions.append(Regression(cell, "value", error, tolerance))
    if operator == "value" or operator not in derivatives:
        return regressions
    golden, array = derivatives[operator], np.asarray(found[operator]).reshape(-1)
    if array.shape != golden.shape or not np.isfinite(array).all():
        return [*regressions, Regression(cell, operator, float("inf"), tolerance)]
    jvp = operator == "jvp"
    scale = norm(derivatives["gradient"]) if jvp and "gradient" in derivatives else None
    off = errors.compare(array, golden, None if jvp else layout, scale)
    if off.relative_l2 is None or not off.relative_l2 <= tolerance:
        regressions.append(Regression(cell, operator, off.relative_l2 or float("inf"), tolerance, off.worst_name))
    return regressions
