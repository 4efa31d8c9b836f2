"""Two installations of the suite measured in turn: sample k of the one beside sample k of the other."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from time import perf_counter

import msgspec

from suite.measure import clock, protocol
from suite.records import Record
from suite.run import plan
from suite.run.driver import Measured, Run
from suite.run.workers import Worker, WorkerDied
from suite.spec import Cell

PHASES = ("value", "gradient")


class Side:
    """One of the two: its run, and its worker for the group under way."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.worker: Worker | None = None
        self.opened: protocol.Ready | None = None
        self._stack = ExitStack()

    def ready(self, group: plan.Group, cells: list[Cell]) -> bool:
        """Has a living worker for the group. Where it cannot be opened, one or all of ``cells`` get their record."""
        if self.worker is None or not self.worker.alive or self.opened is None:
            self.close()
            self.worker = self._stack.enter_context(self.run.worker(group))
            self.opened = self.run.open(self.worker, group, cells)
        return self.opened is not None

    def measure(self, cell: Cell) -> Measured | None:
        assert self.worker is not None and self.opened is not None
        return self.run.measure(self.worker, self.opened, cell)

    def sample(self, phase: str, calls: int) -> float:
        """The time of one call, s: the mean of ``calls``.

        Raises:
            WorkerDied: if the worker dies over it, or does not answer.
        """
        assert self.worker is not None
        reply = self.worker.ask(protocol.Sample(phase, calls), self.run.settings.time_limit)
        if not isinstance(reply, protocol.Sampled):
            text = reply.reason if isinstance(reply, protocol.Failure) else f"answered {type(reply).__name__}"
            raise WorkerDied("error", f"the worker could not take a sample: {text}")
        return reply.seconds

    def loops(self, phase: str) -> int:
        """Warms up, and returns how many calls last `clock.SHORTEST`."""
        spent, calls, one = 0.0, 1, 0.0
        while spent < clock.WARM_UP and calls <= 1024:
            one = self.sample(phase, calls)
            spent += one * calls
            calls *= 2
        return max(1, int(1.2 * clock.SHORTEST / max(one, 1e-7)))

    def close(self) -> None:
        self._stack.close()
        self.worker = self.opened = None


class Session:
    """Runs the same cells on both sides; records of cells that were sampled in turn name the same session."""

    def __init__(self, before: Run, after: Run) -> None:
        self.name = uuid.uuid4().hex[:16]
        self.sides = (Side(before), Side(after))

    def run(self, chosen: Sequence[Cell]) -> tuple[list[Record], list[Record]]:
        """The records of both sides.

        Raises:
            UsageError: if a record cannot be written. Records written before stay.
        """
        for group in plan.groups(chosen):
            pending = [side.run.pending(group) for side in self.sides]
            todo = [cell for cell in group.cells if any(cell in cells for cells in pending)]
            try:
                while todo:
                    self._run_cell(group, todo.pop(0), pending)
            finally:
                for side in self.sides:
                    side.close()
        before, after = ([side.run.records[cell.name] for cell in chosen] for side in self.sides)
        return before, after

    def _run_cell(self, group: plan.Group, cell: Cell, pending: list[list[Cell]]) -> None:
        measured: list[Measured | None] = []
        for side, cells in zip(self.sides, pending, strict=True):
            found = None
            if cell in cells:
                rest = cells[cells.index(cell) :]
                opened = side.ready(group, rest)
                cells[:] = [one for one in rest if opened or one.name not in side.run.records]
                if opened:
                    cells.remove(cell)
                    found = side.measure(cell)
            measured.append(found)
        self._sample(measured)
        for side, one in zip(self.sides, measured, strict=True):
            if one is not None and one.cell.name not in side.run.records:
                side.run.conclude(one)

    def _sample(self, measured: list[Measured | None]) -> None:
        """Samples of the sides that have a result, in turn; a side whose worker dies loses the cell."""
        settings = self.sides[0].run.settings
        if not settings.samples:
            return
        alive = [(side, one) for side, one in zip(self.sides, measured, strict=True) if one is not None]
        both = len(alive) == len(self.sides)
        for phase in PHASES:
            if alive and (phase == "value" or alive[0][1].cell.operator != "value"):
                alive = self._phase(phase, alive, settings.samples, settings.seconds / len(PHASES))
        for _, one in alive:
            if both and len(alive) == len(self.sides):
                one.common["provenance"] = msgspec.structs.replace(one.common["provenance"], session=self.name)

    def _phase(
        self, phase: str, alive: list[tuple[Side, Measured]], least: int, seconds: float
    ) -> list[tuple[Side, Measured]]:
        """Samples of one phase, written into the results; returns the sides that still live."""
        calls: list[int] = []
        taken: list[list[float]] = [[] for _ in alive]
        place = 0
        try:
            for place in range(len(alive)):
                calls.append(alive[place][0].loops(phase))
            start = perf_counter()
            for count in range(max(least, clock.MOST_SAMPLES)):
                if count >= least and perf_counter() - start > seconds:
                    break
                order = range(len(alive)) if count % 2 else reversed(range(len(alive)))  # neither always follows
                for place in order:
                    taken[place].append(alive[place][0].sample(phase, calls[place]))
        except WorkerDied as death:
            side, one = alive.pop(place)
            side.run.lost(one, death)
            return self._phase(phase, alive, least, seconds) if alive else []
        for (_, one), loops, samples in zip(alive, calls, taken, strict=True):
            changes = {phase: samples, f"loops_{phase}": loops}
            one.result = msgspec.structs.replace(
                one.result, seconds=msgspec.structs.replace(one.result.seconds, **changes)
            )
        return alive
