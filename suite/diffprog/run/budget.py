"""A run that must end in time, as on a rented machine: what the report needs most comes first.

A cell is begun only if it is expected to fit into what is left, and ended where it does not. Such cells have no record,
so that ``--resume`` goes on with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from diffprog import tasks
from diffprog.records import protocol
from diffprog.records.cells import Record, Seconds
from diffprog.run import driver, plan
from diffprog.run.relay import Relay
from diffprog.spec import PRECISIONS, SIZES, Cell

GUESS = {"tiny": 15.0, "small": 20.0, "medium": 40.0, "large": 90.0}
"""Seconds of a cell of which nothing like it has been seen."""
GROWTH = 2.0
"""How many times longer a cell is expected to take than one of the next smaller size. Too low a guess costs the last
cell of a budget, too high a one every cell that is left out."""
IDLE = 4
"""Workers that are kept for cells still to come. One that waits does nothing, but has its memory."""


class Over(Exception):
    """The time is up while a cell was being measured."""


def tier(cell: Cell, firsts: Mapping[object, Cell]) -> int:
    """How soon a cell is needed: one of each task and backend, then sizes, precisions, engines, and all the rest."""
    first = firsts[_place(cell)]
    if cell == first:
        return 0
    usual = cell.engine == first.engine
    same = (cell.case.variant, cell.method, cell.operator) == (first.case.variant, first.method, first.operator)
    if same and usual:
        return 1 if cell.precision == first.precision else 2
    return 3 if same else 4


def _place(cell: Cell) -> tuple[str, str, str]:
    return cell.case.task, cell.backend, cell.device


def first_of_each(wanted: Sequence[Cell]) -> dict[object, Cell]:
    """The cell of each task, backend and device that comes first: the smallest size, float64, the usual engine."""
    found: dict[object, Cell] = {}
    for cell in sorted(wanted, key=lambda cell: (PRECISIONS.index(cell.precision), SIZES.index(cell.case.size))):
        usual = tasks.engine(cell.backend, cell.case.task, cell.operator) == cell.engine
        known = found.get(_place(cell))
        if known is None or (usual and tasks.engine(known.backend, known.case.task, known.operator) != known.engine):
            found[_place(cell)] = cell
    return found


def order(cells: Sequence[Cell], wanted: Sequence[Cell]) -> list[Cell]:
    """The cells as a report needs them; references nobody asked for stand right before the first that needs them.

    Within a tier small sizes come first, and the cells of one worker together within a size.
    """
    rank = {cell: number for number, cell in enumerate(cells)}
    asked, firsts = [cell for cell in dict.fromkeys(wanted) if cell in rank], first_of_each(wanted)

    def key(cell: Cell) -> tuple[int, int, int]:
        return tier(cell, firsts), SIZES.index(cell.case.size), rank[cell]

    extra = set(cells).difference(asked)
    found: dict[Cell, None] = {}
    for cell in sorted(asked, key=key):
        found |= dict.fromkeys(one for one in plan.needed_by(cell) if one in extra)
        found[cell] = None
    return [*found, *(cell for cell in cells if cell not in found)]


class Budgeted(driver.Run):
    """A run within ``budget`` seconds; ``left`` holds the cells that it did not come to.

    Args:
        wanted: the cells that were asked for; the others, references, are computed and not timed.
        clock: seconds since some moment; tests have one of their own.
    """

    def __init__(
        self,
        folder: Path,
        settings: driver.Settings,
        listener: driver.Listener = lambda what, cell: None,
        *,
        budget: float,
        wanted: Sequence[Cell],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(folder, settings, listener)
        self.wanted, self.left = tuple(wanted), list[Cell]()
        self._clock, self._end = clock, clock() + budget
        self._took: dict[Cell, float] = {}

    @property
    def remaining(self) -> float:
        """Seconds."""
        return self._end - self._clock()

    def run(self, chosen: Sequence[Cell]) -> list[Record]:
        """The records that there are in the end, of ``chosen``; see `driver.Run.run`."""
        self.untimed = frozenset(chosen) - frozenset(self.wanted)
        ordered = order(chosen, self.wanted)
        relays: dict[object, Relay] = {}
        try:
            for _, cells in groupby(ordered, key=_worker):
                self._run_group(relays, list(cells), ordered)
        finally:
            for relay in relays.values():
                relay.close()
        return [self.records[cell.name] for cell in chosen if cell.name in self.records]

    def _run_group(self, relays: dict[object, Relay], cells: list[Cell], ordered: Sequence[Cell]) -> None:
        key = _worker(cells[0])
        kept = [cell for cell in cells if self.final(cell)]
        self.keep(kept)
        for cell in (cell for cell in cells if cell not in kept):
            if self.expected(cell) > self.remaining:
                self.left.append(cell)
                self.listener("done", cell)
                continue
            if key not in relays:
                while len(relays) >= IDLE:
                    relays.pop(next(iter(relays))).close()
                relays[key] = self.relay(plan.Group(*key, tuple(cells)))
            self._run_cell(relays[key], cell)
        wanted_again = any(_worker(cell) == key for cell in ordered[ordered.index(cells[-1]) + 1 :])
        if key in relays and (relays[key].alone or not wanted_again):
            relays.pop(key).close()

    def _run_cell(self, relay: Relay, cell: Cell) -> None:
        start = self._clock()
        relay.time_limit = max(0.1, min(self.settings.time_limit, self.remaining))
        try:
            measured = self.measure(relay, cell)
            if measured is not None:
                self.conclude(measured)
        except Over:
            self.left.append(cell)
            self.listener("done", cell)
        self._took[cell] = self._clock() - start

    def fail(self, cell: Cell, failure: protocol.Failure, common: Mapping[str, Any]) -> None:
        """As of any run, but that a cell which the end of the budget cut off has no record.

        Raises:
            Over: if this is such a cell.
        """
        if failure.outcome == "timed_out" and self.remaining <= 0:
            raise Over
        super().fail(cell, failure, common)

    def expected(self, cell: Cell) -> float:
        """Seconds that a cell will take: from those of its task and backend that were measured, or from its size."""
        found = {record.cell: record for record in self.records.values() if record.seconds.first_value is not None}
        known = {other: record for other, record in found.items() if _place(other) == _place(cell)}
        if not known:
            return GUESS[cell.case.size]
        like = max(known, key=lambda other: _likeness(cell, other))
        larger = SIZES.index(cell.case.size) - SIZES.index(like.case.size)
        return self._took.get(like, _spent(known[like].seconds)) * GROWTH ** max(larger, 0)


def _worker(cell: Cell) -> tuple[str, str, str, str]:
    return cell.case.task, cell.backend, cell.device, cell.precision


def _likeness(cell: Cell, other: Cell) -> tuple[bool, bool, bool, int]:
    same = cell.engine == other.engine, cell.method == other.method, cell.case.variant == other.case.variant
    return *same, -abs(SIZES.index(cell.case.size) - SIZES.index(other.case.size))


def _spent(seconds: Seconds) -> float:
    """What is known of the time that a cell took in an earlier session."""
    phases = (seconds.import_, seconds.setup, seconds.first_value, seconds.first_gradient)
    samples = len(seconds.value) * (median(seconds.value) * seconds.loops_value if seconds.value else 0.0)
    samples += len(seconds.gradient) * (median(seconds.gradient) * seconds.loops_gradient if seconds.gradient else 0.0)
    return sum(phase or 0.0 for phase in phases) + 3 * samples
