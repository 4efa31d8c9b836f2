"""Runs a plan: inputs from the host, a worker for each group, a verdict and a record for each cell."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from diffprog import tasks
from diffprog.errors import UsageError
from diffprog.records import npz, protocol
from diffprog.records.cells import Journal, Record
from diffprog.run import (
    answers,
    environment,
    files,
    folders,
    installation,
    models,
    plan,
    resuming,
    roofline,
)
from diffprog.run.judging import Judge, Measured
from diffprog.run.relay import Answer, Relay, of_group
from diffprog.run.settings import Listener, Settings, make_folder, provenance, write_environment
from diffprog.spec import Case, Cell, dtype

__all__ = ["FINAL", "Listener", "Run", "Settings", "exit_code", "make_folder", "provenance", "write_environment"]

FINAL = ("ok", "disagrees", "unsupported")
"""Outcomes that ``--resume`` does not try again."""


class Run:
    """One report folder being filled."""

    def __init__(self, folder: Path, settings: Settings, listener: Listener = lambda what, cell: None) -> None:
        self.folder = folder
        self.settings = settings
        self.listener = listener
        self.journal = Journal(folder)
        self.judge = Judge(lambda case: files.load(self._inputs(case)), lambda what, cell: self.listener(what, cell))
        self.inputs: dict[Case, Path] = {}
        self.reasons: dict[Case, str] = {}
        self.records: dict[str, Record] = {}
        folders.check(folder, may_be=tuple(folders.HOLDS.values()))  # that it can be looked at
        self.rates = roofline.Book(folder, f"{platform.node()}, {environment.cpu()}")
        self.held: folders.Lock | None = None
        self.untimed: frozenset[Cell] = frozenset()
        """Cells whose times nobody asked for: they are computed and checked."""

    def start(self, *, resume: bool, remeasure: bool = False) -> None:
        """Makes the folder, or opens it again.

        With ``remeasure``, records of another machine, other versions, code or settings are set aside, and their cells
        have none.

        Raises:
            UsageError: if it cannot be written, holds records without ``resume``, or damaged ones, or, without
                ``remeasure``, such of another origin.
        """
        records = "a run" in folders.kinds(self.folder)
        folders.check(self.folder, may_be=("a run", "a ladder of precision") if records else ())
        self.held = make_folder(self.folder)
        if records:
            if not resume:
                raise UsageError(
                    f"{self.folder} already holds records: go on with --resume, or choose another folder with --out"
                )
            self.records = {record.cell.name: record for record in self.journal.read(mend=True)}
            self._part(remeasure=remeasure)
        write_environment(self.folder, self.settings.installation)

    def _part(self, *, remeasure: bool) -> None:
        """Parts with the records that do not belong to this run."""
        settings = self.settings
        now = resuming.now(
            settings.installation or installation.this(),
            settings.threads,
            settings.julia.julia,
            settings.keep,
            settings.workers,
        )
        standing = [record for record in self.records.values() if self.standing(record)]
        aside = resuming.misfits(now, standing, len(self.records), self.folder, remeasure=remeasure)
        if not aside:
            return
        for record in aside:
            del self.records[record.cell.name]
        self.journal.set_aside(aside, list(self.records.values()))
        self.rates.forget()
        for case in {record.cell.case for record in aside} - {record.cell.case for record in self.records.values()}:
            (self.folder / "arrays" / case.key / "inputs.npz").unlink(missing_ok=True)  # drawn again, from the seed

    def run(self, chosen: Sequence[Cell]) -> list[Record]:
        """Runs every cell that has no final record yet, and returns the records of all of them.

        Raises:
            UsageError: if a record cannot be written. Records written before stay.
        """
        models.note(self.folder, {cell.case.task: None for cell in chosen})
        for group in plan.groups(chosen):
            kept = [cell for cell in group.cells if self.final(cell)]
            self.keep(kept)
            with self.relay(group) as relay:
                for cell in group.cells:
                    measured = None if cell in kept else self.measure(relay, cell)
                    if measured is not None:
                        self.conclude(measured)
        return [self.records[cell.name] for cell in chosen]

    def final(self, cell: Cell) -> bool:
        """Whether the cell has a record that stands: with the times that are asked for, and arrays that can be read."""
        record = self.records.get(cell.name)
        if record is None or not self.standing(record):
            return False
        timed = self.settings.samples > 0 and not self.settings.in_turn and cell not in self.untimed
        if timed and record.outcome == "ok" and not record.seconds.value:
            return False
        if not record.arrays:
            return record.outcome == "unsupported"  # the others stand for an answer
        path = self.folder / record.arrays
        if answers.wrong_arrays(path, cell.operator, record.value):
            return False
        return record.outcome != "ok" or npz.belongs(files.load(path), record)

    @staticmethod
    def standing(record: Record) -> bool:
        """Whether a record says what will be so the next time too."""
        return record.outcome in FINAL

    def keep(self, cells: Sequence[Cell]) -> None:
        """Takes the cells' records as they are."""
        for cell in cells:
            self.judge.remember(self.records[cell.name], self.folder)
            self.listener("done", cell)

    def relay(self, group: plan.Group) -> Relay:
        """The workers of a group."""
        return of_group(group, self.settings, self.folder, self.rates)

    def measure(self, relay: Relay, cell: Cell) -> Measured | None:
        """Has a cell measured; None if that did not come to a result: then the cell has its record already."""

        def on_phase(name: str) -> None:
            self.listener(name, cell)

        search = self.settings.julia
        if cell.backend == "julia" and search.julia is None and "julia" not in self.settings.workers:
            self._finish(cell, outcome="unavailable", reason=search.reason, mend=search.mend)
            return None
        if relay.alone:
            relay.retire()
        opened = relay.open(on_phase)
        key = roofline.key_of(cell, self.settings.threads)
        if isinstance(opened, protocol.Ready) and opened.rates is not None and self.rates.get(key) is None:
            self.rates.note(key, opened.rates)
            if relay.alone:  # what the rates took would be in the cell's peak
                relay.retire()
                opened = relay.open(on_phase)
        if isinstance(opened, protocol.Failure):
            self.fail(cell, opened, {})
            return None
        case = cell.case
        task = tasks.get(case.task)
        config = task.configure(case.variant, case.size)
        arrays_file = f"arrays/{case.key}/{cell.key}.npz"
        common: dict[str, Any] = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "parameters": task.layout(config).size,
            "data": task.describe(config),
            "provenance": provenance(self.settings, case.task, cell.backend, opened, relay.claim),
        }
        inputs = self._inputs(case)
        undefined = self._undefined(case, config, inputs)
        if not undefined and not self.settings.attempt:
            undefined = tasks.limit(cell)
        if undefined:
            self._finish(cell, outcome="unsupported", reason=undefined, **common)
            return None
        prepare = protocol.Prepare(
            case.task, case.variant, case.size, cell.method, str(inputs), cell.operator, cell.engine,
            config=dataclasses.asdict(config), folder=str(task.folder or ""),
        )  # fmt: skip
        ready = self._ask(relay, prepare, protocol.Ready, cell, on_phase)
        if isinstance(ready, protocol.Failure):
            self.fail(cell, ready, common)
            return None
        common["made_with"] = ready.made_with
        if ready.switches:
            switches = opened.switches | ready.switches
            common["provenance"] = msgspec.structs.replace(common["provenance"], switches=switches)
        checked = cell.precision == "float64" and (
            cell.operator in ("jvp", "hvp") or not task.by_hand or cell == plan.reference_cell(case)
        )
        measure = protocol.Measure(
            0 if self.settings.in_turn or cell in self.untimed else self.settings.samples,
            self.settings.seconds,
            str(self.folder / arrays_file),
            directions=10**6 if checked else 0,
        )
        (self.folder / arrays_file).unlink(missing_ok=True)  # what is there afterwards is this answer's
        result = self._ask(relay, measure, protocol.Result, cell, on_phase)
        if isinstance(result, protocol.Failure):
            self.fail(cell, result, common)
            return None
        room = task.memory(config, cell.method, np.dtype(dtype(cell.precision)).itemsize)
        if told := answers.wrong_arrays(self.folder / arrays_file, cell.operator, result.value, room):
            relay.retire()
            reason = f"the worker's answer is not to be believed: {told}"
            self.fail(cell, protocol.Failure("error", reason), common)
            return None
        return Measured(cell, config, opened, result, arrays_file, common)

    def _ask(
        self, relay: Relay, request: protocol.Request, kind: type[Answer], cell: Cell, on_phase: Callable[[str], None]
    ) -> Answer | protocol.Failure:
        """A worker's answer. The inputs are the same for all backends: one of others that changed them has lost."""
        if cell.backend not in self.settings.workers:
            return relay.ask(request, kind, on_phase)
        with files.kept(self._inputs(cell.case)) as changed:
            answer = relay.ask(request, kind, on_phase)
            if not changed():
                return answer
            relay.retire()
        return protocol.Failure("error", "the worker changed the inputs, which are those of all backends")

    def fail(self, cell: Cell, failure: protocol.Failure, common: Mapping[str, Any]) -> None:
        """Records a cell that came to no result; ``common`` is what is known of it all the same."""
        self._finish(cell, outcome=failure.outcome, reason=failure.reason, mend=failure.mend, **common)

    def _inputs(self, case: Case) -> Path:
        """The file of the case's inputs; drawn once a run, since that takes long where cases are large."""
        if case not in self.inputs:
            self.inputs[case] = files.write_inputs(self.folder, case)
        return self.inputs[case]

    def _undefined(self, case: Case, config: Any, inputs: Path) -> str:
        """Why the case's gradient does not exist; asked once a case, here, so that no cell's memory has it in it."""
        if case not in self.reasons:
            self.reasons[case] = tasks.get(case.task).undefined(config, files.load(inputs))
        return self.reasons[case]

    def conclude(self, measured: Measured) -> None:
        """Judges a measured cell; the first good float64 gradient of a case becomes what the rest is judged by."""
        cell, config, result = measured.cell, measured.config, measured.result
        arrays = files.load(self.folder / measured.arrays_file)
        outcome, reason, agreement = self.judge.judge(cell, config, arrays, result)
        self._finish(
            cell,
            outcome=outcome,
            reason=reason,
            agreement=agreement,
            value=result.value,
            invariants=result.invariants,
            seconds=msgspec.structs.replace(result.seconds, import_=measured.opened.seconds),
            memory=result.memory,
            gpu=result.gpu,
            floor=roofline.floor(cell, config, self.rates.get(roofline.key_of(cell, self.settings.threads))),
            arrays=measured.arrays_file,
            **measured.common,
        )
        self.judge.remember(self.records[cell.name], self.folder)

    def _finish(self, cell: Cell, **what: Any) -> None:
        case = cell.case
        record = Record(
            task=case.task,
            variant=case.variant,
            size=case.size,
            seed=case.seed,
            backend=cell.backend,
            method=cell.method,
            operator=cell.operator,
            engine=cell.engine,
            precision=cell.precision,
            device=cell.device,
            **what,
        )
        self.journal.append(record)
        self.records[cell.name] = record
        self.listener("done", cell)


def exit_code(records: Sequence[Record], required: Sequence[str] = ()) -> int:
    """0 if every cell is ok, unsupported or unavailable; 1 otherwise, or if a required backend was unavailable."""
    bad = any(record.outcome not in ("ok", "unsupported", "unavailable") for record in records)
    return int(bad or any(r.backend in required and r.outcome == "unavailable" for r in records))
