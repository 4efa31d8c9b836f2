"""Two installations of the suite measured in turn: sample k of the one beside sample k of the other."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

import msgspec

from diffprog.measure import clock
from diffprog.records import protocol
from diffprog.records.cells import Record
from diffprog.run import files, folders, installation, models, plan
from diffprog.run.driver import Listener, Run, Settings
from diffprog.run.installation import Installation
from diffprog.run.judging import Measured
from diffprog.run.relay import Relay
from diffprog.spec import Cell
from diffprog.worker import answers

BEFORE, AFTER = "before", "after"
"""The folders of the two runs: the other installation's, and this one's."""
LONGEST = 0.1
"""Seconds that a sample of the slower side may last, where one call does not last longer."""
_MOST_CALLS = 1024
"""Calls of a warm-up round, at most."""


class Failed(Exception):
    """A worker could not take a sample."""

    def __init__(self, failure: protocol.Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


def warmed_up(ask: Callable[[int], float]) -> float:
    """About how long one call lasts, s, after some; ``ask`` makes so many and says how long one of them took."""
    spent, calls, lasts = 0.0, 1, 0.0
    while spent < clock.WARM_UP and calls <= _MOST_CALLS:
        lasts = ask(calls)
        spent += lasts * calls
        calls *= 2
    return lasts


class Side:
    """A cell that one of the two has measured and is ready to sample."""

    def __init__(self, run: Run, relay: Relay, measured: Measured) -> None:
        self.run, self._relay, self._measured = run, relay, measured
        self.phases = ("value",) if measured.cell.operator == "value" else ("value", "gradient")
        self.calls: dict[str, int] = {}
        """Behind each sample, by phase."""
        self.lasts: dict[str, float] = {}
        """About how long one call takes, s, by phase."""
        self._taken: dict[str, list[float]] = {phase: [] for phase in self.phases}

    def _ask(self, phase: str, calls: int) -> float:
        """The mean time of one of so many calls, s."""
        reply = self._relay.ask(protocol.Sample(phase, calls), protocol.Sampled)
        if isinstance(reply, protocol.Failure):
            raise Failed(reply)
        return reply.seconds

    def warm_up(self) -> None:
        """Makes untimed calls of each phase, and sees how long one lasts.

        Raises:
            Failed: if the worker dies over it or cannot do it; so does ``take``.
        """
        for phase in self.phases:
            self.lasts[phase] = warmed_up(partial(self._ask, phase))

    def take(self, phase: str) -> None:
        self._taken[phase].append(self._ask(phase, self.calls[phase]))

    def look_again(self) -> None:
        """Has the cell answer once more, after its samples; what is no longer the same is judged with the rest.

        Raises:
            Failed: if the worker dies over it or cannot do it.
        """
        kept = self.run.folder / self._measured.arrays_file
        path = kept.with_name(kept.stem + ".after.npz")
        reply = self._relay.ask(protocol.Measure(0, 0.0, str(path)), protocol.Result)
        if isinstance(reply, protocol.Failure):
            raise Failed(reply)
        first = files.load(kept)
        found = answers.differing(first, files.load(path), self._measured.cell.operator)
        path.unlink()
        if found:
            files.save(kept, first | found)

    def conclude(self, session: str) -> None:
        """Has the cell judged, with its samples; ``session`` is empty where they were not taken in turn."""
        measured = self._measured
        changes: dict[str, object] = {**self._taken} | {f"loops_{phase}": self.calls[phase] for phase in self.phases}
        origin = msgspec.structs.replace(measured.common["provenance"], session=session)
        seconds = msgspec.structs.replace(measured.result.seconds, **changes)
        result = msgspec.structs.replace(measured.result, seconds=seconds)
        common = measured.common | {"provenance": origin}
        self.run.conclude(dataclasses.replace(measured, result=result, common=common))

    def fail(self, failure: protocol.Failure) -> None:
        self.run.fail(self._measured.cell, failure, self._measured.common)


class Session:
    """Runs the same cells in another installation and in this one, into two folders within ``folder``.

    A cell costs only the side that fails on it. Records of cells that were sampled in turn name the same session.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        other: Installation,
        listener: Listener = lambda what, cell: None,
    ) -> None:
        def run(name: str, one: Installation) -> Run:
            return Run(
                folder / name,
                dataclasses.replace(settings, command=one.command, installation=one, in_turn=True),
                listener,
            )

        self.folder = folder
        self.name = uuid.uuid4().hex[:16]
        self.settings = settings
        self.before, self.after = run(BEFORE, other), run(AFTER, installation.this())
        self.runs = self.before, self.after

    def start(self, *, resume: bool, remeasure: bool = False) -> None:
        """Makes the folders, or opens them again; as `Run.start`."""
        folders.check(self.folder, may_be=("two runs in turn",))
        for run in self.runs:
            run.start(resume=resume, remeasure=remeasure)

    def run(self, chosen: Sequence[Cell]) -> tuple[list[Record], list[Record]]:
        """The records of both sides, that before first. A cell that is not final on both is measured on both again.

        Raises:
            UsageError: if a record cannot be written. Records written before stay.
        """
        for run in self.runs:
            models.note(run.folder, {cell.case.task: None for cell in chosen})
        for group in plan.groups(chosen):
            kept = [cell for cell in group.cells if all(run.final(cell) for run in self.runs)]
            for run in self.runs:
                run.keep(kept)
            with self.before.relay(group) as first, self.after.relay(group) as second:
                for cell in group.cells:
                    if cell not in kept:
                        self._run_cell(cell, (first, second))
        before, after = ([run.records[cell.name] for cell in chosen] for run in self.runs)
        return before, after

    def _run_cell(self, cell: Cell, relays: Sequence[Relay]) -> None:
        files.share_inputs(self.before.folder, self.after.folder, cell.case)
        sides = []
        for run, relay in zip(self.runs, relays, strict=True):
            measured = run.measure(relay, cell)
            if measured is not None:
                sides.append(Side(run, relay, measured))
        if sides:
            self.after.listener("sampling in turn", cell)
        sampled = _looked_again(_sampled(sides, self.settings))
        for side in sampled:
            side.conclude(self.name if len(sampled) == len(self.runs) else "")


def _looked_again(sides: Sequence[Side]) -> list[Side]:
    """Those that still answer after their samples; the failure of one that does not is recorded."""
    alive = []
    for side in sides:
        try:
            side.look_again()
            alive.append(side)
        except Failed as error:
            side.fail(error.failure)
    return alive


def _sampled(sides: Sequence[Side], settings: Settings) -> list[Side]:
    """Takes the samples, in turn; returns the sides that could, and records the failure of one that could not."""
    alive = list(sides)

    def each(order: Sequence[Side], do: Callable[[Side], None]) -> None:
        for side in order:
            try:
                do(side)
            except Failed as error:
                side.fail(error.failure)
                alive.remove(side)

    each(sides, Side.warm_up)
    _settle(alive)
    start = perf_counter()
    for count in range(max(settings.samples, clock.MOST_SAMPLES)):
        if not alive or (count >= settings.samples and perf_counter() - start > settings.seconds):
            break
        for phase in alive[0].phases:
            # The two change places every round, so that neither always follows the other.
            each(alive[::-1] if count % 2 else alive[:], partial(Side.take, phase=phase))
    return alive


def _settle(sides: Sequence[Side]) -> None:
    """Gives both sides the same number of calls a sample, enough for the faster one's to last `clock.SHORTEST`.

    The same, because the first calls after the other side's find the caches cold: two numbers that differ by chance,
    above all one and two, make the times of one and the same code differ by some 20 %.
    """
    for phase in sides[0].phases if sides else ():
        fastest, slowest = (max(pick(side.lasts[phase] for side in sides), 1e-7) for pick in (min, max))
        calls = max(1, min(int(1.2 * clock.SHORTEST / fastest), int(LONGEST / slowest)))
        for side in sides:
            side.calls[phase] = calls
