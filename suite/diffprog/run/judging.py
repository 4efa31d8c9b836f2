"""Judges measured cells: each by what its case's first good float64 gradient says, or what its method should answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from diffprog import tasks
from diffprog.agree import verdict
from diffprog.agree import yardstick as yardsticks
from diffprog.agree.rounding import Noise
from diffprog.declaration import Approximation
from diffprog.records import protocol
from diffprog.records.cells import Agreement, Record
from diffprog.run import files
from diffprog.spec import Arrays, Case, Cell


@dataclass
class Measured:
    """A cell that was measured and waits for its verdict."""

    cell: Cell
    config: Any
    opened: protocol.Ready
    result: protocol.Result
    arrays_file: str
    common: dict[str, Any]


class Judge:
    """What the cells of a run are judged by, as it becomes known.

    Args:
        given: the inputs of a case.
        say: told what is happening, to which cell.
    """

    def __init__(self, given: Callable[[Case], Arrays], say: Callable[[str, Cell], None]) -> None:
        self._given, self._say = given, say
        self._yardsticks: dict[tuple[Case, str], verdict.Yardstick] = {}
        self._approximations: dict[tuple[Case, str], Approximation] = {}

    def judge(
        self, cell: Cell, config: Any, arrays: Arrays, result: protocol.Result
    ) -> tuple[str, str, Agreement | None]:
        """Outcome, reason and figures of a measured cell; the first that is good leads its case."""
        task = tasks.get(cell.case.task)
        yardstick = self._judges(cell, config)
        may_lead = cell.precision == "float64" and cell.operator != "value" and cell.device == "cpu"
        if yardstick is None and (not may_lead or cell.method in task.approximating):
            return "error", "there is no reference to compare with: every candidate failed", None
        if yardstick is None and not verdict.damage(task, cell, config, arrays):
            yardstick = self._yardstick(cell, arrays, Noise(result.value_noise or 0.0, result.noise or 0.0))
        return verdict.judge(task, cell, config, arrays, result, yardstick)

    def _judges(self, cell: Cell, config: Any) -> verdict.Yardstick | None:
        """What a cell is judged by; where its method approximates, with what that should answer at these inputs."""
        yardstick, task = self._yardsticks.get(_judged_by(cell)), tasks.get(cell.case.task)
        if yardstick is None or task.approximation is None or cell.method not in task.approximating:
            return yardstick
        key = cell.case, cell.method
        if key not in self._approximations:
            self._say("what the method should answer", cell)
            self._approximations[key] = task.approximation(config, cell.method, self._given(cell.case))
        given = partial(self._given, cell.case)
        return yardsticks.of_method(yardstick, cell.case, cell.method, self._approximations[key], given)

    def _yardstick(self, cell: Cell, arrays: Arrays, told: Noise) -> verdict.Yardstick:
        scale = yardsticks.norm(self._yardsticks.get((cell.case, "gradient"))) if cell.operator == "jvp" else None
        given = partial(self._given, cell.case)
        return yardsticks.of_reference(cell.case, cell.key, cell.operator, arrays, given, scale, told)

    def remember(self, record: Record, folder: Path) -> None:
        """Takes a good reference cell, of this run or of another in ``folder``, as what its case is judged by."""
        cell = record.cell
        if record.outcome != "ok" or cell.operator == "value" or cell.device != "cpu":
            return
        known = self._yardsticks.get(_judged_by(cell))
        if known is None and cell.precision == "float64":
            arrays, said = files.load(folder / record.arrays), record.agreement
            told = Noise() if said is None else Noise(said.value_noise or 0.0, said.noise or 0.0)
            self._yardsticks[_judged_by(cell)] = self._yardstick(cell, arrays, told)
        elif known is not None and cell.precision == "float32" and known.key == replace(cell, precision="float64").key:
            agreement = record.agreement
            if agreement is not None and agreement.gradient is not None:
                error = agreement.gradient.relative_l2
                single = yardsticks.with_float32(known, error, agreement.value, agreement.outputs)
                self._yardsticks[_judged_by(cell)] = single


def _judged_by(cell: Cell) -> tuple[Case, str]:
    """Which yardstick is a cell's: a value is judged with the gradients."""
    return cell.case, "gradient" if cell.operator == "value" else cell.operator
