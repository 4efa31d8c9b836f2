"""Work against precision: one case along a ladder of step counts and solver tolerances, against a converged answer.

A task takes part by a module ``precision`` beside its declaration, with ``converged(config)`` and ``ladder(config)``:
what to change in the configuration for the answer that errors are taken against, and for each point of the diagram.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from diffprog import tasks
from diffprog.errors import UsageError
from diffprog.records import protocol
from diffprog.run import answers, files, folders
from diffprog.run.driver import Settings
from diffprog.run.workers import Worker, WorkerDied
from diffprog.run.workers import environment as worker_environment
from diffprog.spec import Array, Case

FILE = "work_precision.csv"
SAME = 1e-9
"""Two answers of one function, relative: they differ by rounding at most."""


@dataclass(frozen=True)
class Rung:
    """A method with the fields of the configuration that are changed for it."""

    method: str
    overrides: dict[str, int | float] = field(default_factory=dict)

    @property
    def setting(self) -> str:
        """Such as ``steps=20``."""
        return ", ".join(f"{name}={value:g}" for name, value in self.overrides.items())


@dataclass(frozen=True)
class Point:
    """One line of the table. Errors are relative (the gradient's in L2), times the medians in seconds of one call.

    Evaluations are those of the right-hand side or of its vector-Jacobian product.
    """

    case: str
    backend: str
    method: str
    setting: str
    outcome: str
    reason: str = ""
    value_evaluations: int | None = None
    gradient_evaluations: int | None = None
    value_s: float | None = None
    gradient_s: float | None = None
    value_error: float | None = None
    gradient_error: float | None = None


def _module(task: str) -> Any:
    if tasks.get(task).folder is not None:
        raise UsageError(
            f"task {task} has no ladder of precision: the suite cannot vary what only the loss knows of; give task.py "
            "SIZES or VARIANTS, and compare those"
        )
    found = tasks.part(task, "precision")
    if found is None:
        raise UsageError(f"task {task} has no ladder of precision (tasks/{task}/precision.py)")
    return found


def rungs(task: str, config: Any) -> list[Rung]:
    """The points of a backend's diagram.

    Raises:
        UsageError: if the task has none.
    """
    return [Rung(method, overrides) for method, overrides in _module(task).ladder(config)]


def measure(
    case: Case,
    backends: Sequence[str],
    folder: Path,
    settings: Settings,
    listener: Callable[[str], None] = lambda what: None,
) -> list[Point]:
    """Runs the ladder on each backend in float64 on the CPU; the table is written anew after each point.

    ``listener`` is told what begins, and ``done`` after each point.

    Raises:
        UsageError: if the task has no ladder, the folder cannot be written, or the converged answer fails.
    """
    config = tasks.get(case.task).configure(case.variant, case.size)
    ladder = rungs(case.task, config)
    folders.check(folder, may_be=("a run",))
    try:
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        held = folders.lock(folder)
        (folder / "arrays").mkdir(exist_ok=True)
        write(folder, [])
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be written ({error})") from error
    inputs = files.write_inputs(folder, case)
    listener("the converged answer")
    best = Rung(*_module(case.task).converged(config))
    answer, arrays = next(iter(_points(case, "numpy", [best], inputs, folder, settings)))
    if arrays is None:
        raise UsageError(f"the converged answer failed: {answer.reason}")
    points: list[Point] = []
    for backend in backends:
        listener(backend)
        for point, found in _points(case, backend, ladder, inputs, folder, settings):
            points.append(_compared(point, found, arrays))
            write(folder, points)
            listener("done")
    del held
    return points


def _points(case: Case, backend: str, ladder: Sequence[Rung], inputs: Path, folder: Path, settings: Settings) -> Any:
    """Yields each rung's point, without errors, and its arrays, None where it failed."""
    search = settings.julia
    if backend == "julia" and search.julia is None:
        for rung in ladder:
            yield Point(case.key, backend, rung.method, rung.setting, "unavailable", search.reason), None
        return
    julia = search.julia if backend == "julia" else None
    env = worker_environment("float64", "cpu", settings.threads, julia, settings.keep)
    log = folder / "logs" / f"precision-{case.task}-{backend}.log"
    todo = list(ladder)
    while todo:  # a dead worker costs one point
        try:
            worker = Worker(env, log, settings.threads, settings.command)
        except WorkerDied as death:
            yield _point(case, backend, todo.pop(0), protocol.Failure(death.outcome, str(death)), folder)
            continue
        with worker:
            opened = False
            while todo and worker.alive:
                rung = todo.pop(0)
                if not opened:
                    reply = _ask(
                        worker, [protocol.Open(backend, "float64", "cpu", settings.threads, protocol.VERSION)], settings
                    )
                    opened = isinstance(reply, protocol.Ready)
                if opened:
                    reply = _ask(worker, _requests(case, rung, inputs, folder, settings), settings)
                yield _point(case, backend, rung, reply, folder)


def _requests(case: Case, rung: Rung, inputs: Path, folder: Path, settings: Settings) -> list[protocol.Request]:
    config = asdict(tasks.get(case.task).configure(case.variant, case.size)) | rung.overrides
    prepare = protocol.Prepare(
        case.task, case.variant, case.size, rung.method, str(inputs), overrides=rung.overrides, config=config
    )
    arrays = str(folder / "arrays" / "precision.npz")
    return [prepare, protocol.Measure(settings.samples, settings.seconds, arrays)]


def _ask(worker: Worker, requests: Sequence[protocol.Request], settings: Settings) -> protocol.Reply:
    """The reply to the last request, or the first failure; a worker that dies is a failure."""
    reply: protocol.Reply = protocol.Failure("error", "nothing was asked")
    for request in requests:
        try:
            reply = worker.ask(request, settings.time_limit)
        except WorkerDied as death:
            return protocol.Failure(death.outcome, str(death))
        if isinstance(reply, protocol.Failure):
            break
    return reply


def _point(
    case: Case, backend: str, rung: Rung, reply: protocol.Reply, folder: Path
) -> tuple[Point, dict[str, Array] | None]:
    if not isinstance(reply, protocol.Result):
        outcome, reason = "error", f"the worker answered {type(reply).__name__}"
        if isinstance(reply, protocol.Failure):
            outcome, reason = reply.outcome, f"{reply.reason} {reply.mend}".strip()
        return Point(case.key, backend, rung.method, rung.setting, outcome, reason), None
    if told := answers.wrong_arrays(folder / "arrays" / "precision.npz", "gradient", reply.value):
        reason = f"the worker's answer is not to be believed: {told}"
        return Point(case.key, backend, rung.method, rung.setting, "error", reason), None
    counts = reply.invariants
    forward = counts.get("adaptive_evaluations", counts.get("rhs_evaluations"))
    # Without a count of its own a gradient goes through each stage once in each direction.
    both = counts.get("adaptive_evaluations_gradient", None if forward is None else 2 * forward)
    point = Point(
        case.key,
        backend,
        rung.method,
        rung.setting,
        "ok",
        value_evaluations=forward,
        gradient_evaluations=both,
        value_s=median(reply.seconds.value),
        gradient_s=median(reply.seconds.gradient),
    )
    return point, files.load(folder / "arrays" / "precision.npz")


def _compared(point: Point, found: dict[str, Array] | None, best: dict[str, Array]) -> Point:
    if found is None:
        return point
    alone = found.get(protocol.VALUE_ALONE, found["value"])
    late = [name for name in found if name.startswith(protocol.AFTER)]
    if not np.isclose(float(alone), float(found["value"]), rtol=SAME, atol=SAME) or not all(
        _like(found[name], found["value" if protocol.is_value(name) else "gradient"]) for name in late
    ):
        return Point(**asdict(point) | {"outcome": "disagrees", "reason": "what was timed gives another answer"})
    value_error = abs(float(found["value"]) - float(best["value"])) / max(1.0, abs(float(best["value"])))
    gradient_error = np.linalg.norm(found["gradient"] - best["gradient"]) / np.linalg.norm(best["gradient"])
    errors = {"value_error": value_error, "gradient_error": float(gradient_error)}
    if not np.isfinite(list(errors.values())).all():
        return Point(**asdict(point) | {"outcome": "disagrees", "reason": "the answer is not finite"})
    return Point(**asdict(point) | errors)


def _like(x: Array, y: Array) -> bool:
    return x.shape == y.shape and bool(np.linalg.norm(x - y) <= SAME * max(1.0, float(np.linalg.norm(y))))


def write(folder: Path, points: Sequence[Point]) -> Path:
    """The table as CSV; returns its path."""
    text = io.StringIO()
    table = csv.DictWriter(text, [column.name for column in fields(Point)], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(point) for point in points)
    files.write_atomically(folder / FILE, text.getvalue())
    return folder / FILE
