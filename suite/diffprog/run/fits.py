"""Runs fits: the same start on every backend, live progress, and nothing lost when a fit is stopped or dies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from diffprog import tasks
from diffprog.declaration import NO_LINE_SEARCH, Minimax, Task
from diffprog.errors import UsageError
from diffprog.models.declaring import NO_GRADIENT
from diffprog.records import protocol
from diffprog.records.fits import COMPARED, TOLERANCE, FitJournal, FitRecord, inputs_file
from diffprog.run import driver, files, folders, models, plan
from diffprog.run.workers import Worker, WorkerDied, environment
from diffprog.spec import OPTIMISERS, Array, Case, Layout


@dataclass(frozen=True)
class Request:
    """What was asked for. None means the task's own default, or all there is."""

    task: str
    variants: tuple[str, ...] | None = None
    size: str | None = None
    backends: tuple[str, ...] | None = None
    method: str | None = None
    optimisers: tuple[str, ...] | None = None
    seed: int = 0
    steps: int | None = None
    rate: float | None = None


Listener = Callable[[str, FitRecord, protocol.Step | None], None]
"""Told ``(what is happening, to which fit, the step just done)``; ``("done", …)`` when a fit has its record."""


def planned(request: Request) -> list[FitRecord]:
    """The fits asked for, each as a record without results, the reference's backend first.

    Raises:
        UsageError: for an unknown name, a task that cannot be fitted, or numbers that make no sense.
    """
    task = tasks.get(request.task)
    fit = task.fit
    if fit is None:
        raise UsageError(f"task {task.name} has nothing to fit")
    plan.check_names("variant to fit", request.variants, fit.variants)
    plan.check_names(f"size of task {task.name}", (request.size,) if request.size else None, task.sizes)
    plan.check_names(f"backend of task {task.name}", request.backends, task.backends)
    plan.check_names("optimiser", request.optimisers, OPTIMISERS)
    task.check(method=request.method)
    found = []
    for variant in request.variants or fit.variants[:1]:
        defaults, game = fit.defaults(variant), fit.minimax.get(variant)
        steps, rate, size = (
            request.steps or defaults.steps,
            request.rate or defaults.rate,
            request.size or defaults.size,
        )
        if rate <= 0 or not np.isfinite(rate):
            raise UsageError(f"Adam's step size must be positive and finite, not {rate:g}")
        if game is not None and "lbfgs" in (request.optimisers or ()):
            raise UsageError(f"variant {variant} of {task.name} is fitted by adam alone: {NO_LINE_SEARCH}")
        bound = task.bound(task.configure(variant, size))
        found += [
            FitRecord(
                task=task.name, variant=variant, size=size, seed=request.seed, backend=backend,
                method=request.method or task.reference_method(variant), optimiser=optimiser, steps=steps, rate=rate,
                outcome="stopped", bound=None if bound is None else float(bound), **_of_minimax(game),
            )
            for backend in task.backends
            if (request.backends is None or backend in request.backends)
            and not (backend == "numpy" and plan.value_alone(task))
            for optimiser in request.optimisers or (OPTIMISERS if game is None else ("adam",))
        ]  # fmt: skip
    if not found:  # of a user's model
        raise UsageError(f"there is nothing to fit: {NO_GRADIENT}")
    return found


def _of_minimax(game: Minimax | None) -> dict[str, Any]:
    return {} if game is None else {"ascend": game.ascend, "pace": game.pace, "saddle": game.saddle}


class FitRun:
    """One report folder being filled with fits."""

    def __init__(
        self, folder: Path, settings: driver.Settings, listener: Listener = lambda what, fit, step: None
    ) -> None:
        self.folder, self.settings, self.listener = folder, settings, listener
        self.journal = FitJournal(folder)
        self.references: dict[Case, tuple[str, list[float]]] = {}
        self.records: list[FitRecord] = []

    def start(self) -> None:
        """Makes the folder.

        Raises:
            UsageError: if it cannot be written or holds fits already.
        """
        if {"a run", "a fit"} & set(folders.kinds(self.folder)):
            raise UsageError(f"{self.folder} already holds a run: choose another folder with --out")
        folders.check(self.folder)
        self.held = driver.make_folder(self.folder)
        driver.write_environment(self.folder)

    def run(self, chosen: Sequence[FitRecord]) -> list[FitRecord]:
        """Runs every fit; a worker for each, so that none inherits another's memory or compiled code."""
        models.note(self.folder, {fit.task: None for fit in chosen})
        for fit in chosen:
            self._run(fit)
        return self.records

    def _run(self, fit: FitRecord) -> None:
        started = datetime.now(UTC).isoformat(timespec="seconds")
        fit = msgspec.structs.replace(fit, started=started)
        search = self.settings.julia
        if fit.backend == "julia" and search.julia is None:
            self._finish(fit, [], outcome="unavailable", reason=search.reason, mend=search.mend)
            return
        julia = search.julia if fit.backend == "julia" else None
        folder = tasks.get(fit.task).folder
        env = environment("float64", "cpu", self.settings.threads, julia, self.settings.keep, folder=folder)
        log = self.folder / "logs" / f"fit-{fit.task}-{fit.backend}.log"
        inputs = write_inputs(self.folder, tasks.get(fit.task), fit.case)
        fit = msgspec.structs.replace(
            fit,
            curve=f"arrays/{fit.case.key}/fit-{fit.key}.csv",
            arrays=f"arrays/{fit.case.key}/fit-{fit.key}.npz",
        )
        losses: list[float] = []
        with (self.folder / fit.curve).open("w", buffering=1, encoding="utf-8") as curve:
            curve.write("step,loss,seconds\n")

            def on_step(step: protocol.Step) -> None:
                losses.append(step.loss)
                curve.write(f"{step.step},{step.loss!r},{step.seconds:.6f}\n")
                self.listener("optimising", fit, step)

            try:
                with Worker(env, log, self.settings.threads, self.settings.command) as worker:
                    self._fit(worker, fit, inputs, losses, on_step)
            except WorkerDied as death:
                self._finish(fit, losses, outcome=death.outcome, reason=str(death))
            except OSError as error:
                raise UsageError(f"cannot write {self.folder / fit.curve} ({error}); what was there is kept") from error
            except KeyboardInterrupt:
                self._finish(fit, losses, outcome="stopped", reason="stopped by Ctrl-C")
                raise

    def _fit(
        self,
        worker: Worker,
        fit: FitRecord,
        inputs: Path,
        losses: list[float],
        on_step: Callable[[protocol.Step], None],
    ) -> None:
        limit = self.settings.time_limit

        def on_phase(name: str) -> None:
            self.listener(name, fit, None)

        self.listener("starting the worker", fit, None)
        opening = protocol.Open(fit.backend, "float64", "cpu", self.settings.threads, protocol.VERSION)
        opened = worker.ask(opening, limit, on_phase)
        reply = opened
        if isinstance(opened, protocol.Ready):
            fit = msgspec.structs.replace(
                fit, provenance=driver.provenance(self.settings, fit.task, fit.backend, opened, worker.claim)
            )
            task = tasks.get(fit.task)
            request = protocol.Fit(
                fit.task, fit.variant, fit.size, fit.method, str(inputs), fit.optimiser, fit.steps, fit.rate,
                str(self.folder / fit.arrays), dataclasses.asdict(task.configure(fit.variant, fit.size)),
                str(task.folder or ""),
            )  # fmt: skip
            reply = worker.ask(request, limit, on_phase, on_step)
        if isinstance(reply, protocol.Fitted):
            self._finish(
                fit, losses, outcome="ok", made_with=reply.made_with, seconds=reply.seconds,
                evaluations=reply.evaluations, message=reply.message,
            )  # fmt: skip
        elif isinstance(reply, protocol.Failure):
            self._finish(fit, losses, outcome=reply.outcome, reason=reply.reason, mend=reply.mend)
        else:
            self._finish(fit, losses, outcome="error", reason=f"the worker answered {type(reply).__name__}")

    def _finish(self, fit: FitRecord, losses: list[float], **what: Any) -> None:
        """Judges the first Adam losses, and writes the record."""
        if losses:
            what |= {"first_loss": losses[0], "final_loss": losses[-1], "steps_done": len(losses) - 1}
        if fit.optimiser == "adam" and losses:
            if fit.case not in self.references and what["outcome"] == "ok":
                self.references[fit.case] = fit.backend, losses[:COMPARED]
            backend, reference = self.references.get(fit.case, ("", []))
            if reference:
                what["reference"] = "itself" if backend == fit.backend else backend
                what["deviation"] = found = deviation(losses[:COMPARED], reference)
                if what["outcome"] == "ok" and not found <= TOLERANCE:
                    what["outcome"] = "disagrees"
                    what["reason"] = (
                        f"the first {COMPARED} Adam losses are up to {found:.1e} from those of {backend}, "
                        f"relatively (at most {TOLERANCE:.0e})"
                    )
        record = msgspec.structs.replace(fit, **what)
        self.journal.append(record)
        self.records.append(record)
        self.listener("done", record, None)


def deviation(losses: Sequence[float], reference: Sequence[float]) -> float:
    """The largest |l − r| / |r| of two learning curves as far as both go; infinite where r = 0 and l is not."""
    largest = 0.0
    for one, other in zip(losses, reference, strict=False):
        if one != other:
            largest = max(largest, abs(one - other) / abs(other) if other else float("inf"))
    return largest


def write_inputs(folder: Path, task: Task, case: Case) -> Path:
    """The fit's inputs, drawn on the host and written once for all backends.

    Raises:
        UsageError: if they cannot be written.
    """
    path = folder / inputs_file(case)
    if not path.exists():
        assert task.fit is not None
        config = task.configure(case.variant, case.size)
        with files.one_thread():
            drawn = task.fit.draw(config, case.seed)
        game = task.fit.minimax.get(case.variant)
        if game is not None:
            drawn["fit_pace"] = paces(task.layout(config), game)
        files.save(path, drawn)
    return path


def paces(layout: Layout, game: Minimax) -> Array:
    """What Adam's step is multiplied by, (P,): 1 where θ descends, minus the pace in the blocks that ascend."""
    return np.concatenate(
        [np.full(block.size, -game.pace if block.name in game.ascend else 1.0) for block in layout.blocks]
    )


def exit_code(records: Sequence[FitRecord]) -> int:
    """0 if every fit is ok, unsupported or unavailable; 1 otherwise."""
    return int(any(record.outcome not in ("ok", "unsupported", "unavailable") for record in records))
