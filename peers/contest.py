"""Contenders on one problem: answers compared with the reference first, then samples in turn."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from diffprog import tasks
from diffprog.backends import find_julia
from diffprog.measure import clock
from diffprog.records import protocol
from diffprog.run import files, variables
from diffprog.run.relay import Relay
from diffprog.run.workers import COMMAND, Worker
from diffprog.spec import Array, Case

ROOT = Path(__file__).resolve().parent.parent
THREADS = 1
PHASES = ("value", "gradient")
Tell = Callable[[str], None]
Answer = TypeVar("Answer", protocol.Ready, protocol.Result, protocol.Sampled)


@dataclass(frozen=True)
class Problem:
    """A case of the suite with another ``qubits`` and ``depth`` than its sizes have."""

    task: str
    variant: str
    qubits: int
    depth: int

    @property
    def name(self) -> str:
        return f"{self.task}-{self.variant}-{self.qubits}-qubits-depth-{self.depth}"


@dataclass(frozen=True)
class Contender:
    """Who computes: a backend of the suite with one of its methods, or a peer with none.

    ``command`` starts a peer's worker; without one it is that of `peers.serve`.
    """

    name: str
    method: str = ""
    command: tuple[str, ...] = ()

    @property
    def peer(self) -> bool:
        return not self.method

    def __str__(self) -> str:
        return f"{self.name} {self.method}".rstrip()


@dataclass
class Outcome:
    """What came of a contender: why it has no times, or how far it is off and its samples, s a call, by phase.

    ``first`` are the seconds of the first calls, compilation included.
    """

    contender: Contender
    refused: str = ""
    error: float = float("nan")
    first: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {phase: [] for phase in PHASES})
    versions: dict[str, str] = field(default_factory=dict)
    failed: bool = False
    """Whether it is refused for something else than not being installed."""

    def refuse(self, error: Failed) -> None:
        self.refused, self.failed = str(error), error.outcome != "unavailable"


class Failed(Exception):
    """A contender's worker could not do what it was asked for; ``outcome`` as in a record."""

    def __init__(self, outcome: str, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


class Playing:
    """A contender with its worker, from its start to its last sample."""

    def __init__(self, outcome: Outcome, relay: Relay) -> None:
        self.outcome, self._relay = outcome, relay
        self.calls: dict[str, int] = {}

    def answer(self, request: protocol.Prepare, arrays: Path) -> tuple[float, Array]:
        """Value and gradient of the prepared problem.

        Raises:
            Failed: if the worker cannot be opened, or cannot compute it.
        """
        opened = self._relay.open()
        if isinstance(opened, protocol.Failure):
            raise Failed(opened.outcome, opened.reason)
        self.outcome.versions = opened.versions
        _told(self._relay.ask(request, protocol.Ready))
        result = _told(self._relay.ask(protocol.Measure(0, 0.0, str(arrays)), protocol.Result))
        for phase, seconds in zip(PHASES, (result.seconds.first_value, result.seconds.first_gradient), strict=True):
            self.outcome.first[phase] = float("nan") if seconds is None else seconds
        found = files.load(arrays)
        return float(found[protocol.VALUE_ALONE]), found["gradient"]

    def warm_up(self) -> None:
        """Calls until it has run for `clock.WARM_UP`; then knows how many calls last `clock.SHORTEST`."""
        for phase in PHASES:
            spent, calls, last = 0.0, 1, 0.0
            while spent < clock.WARM_UP and calls <= 1024:
                last = self._sample(phase, calls)
                spent += last * calls
                calls *= 2
            self.calls[phase] = max(1, int(1.2 * clock.SHORTEST / last))

    def take(self) -> None:
        for phase in PHASES:
            self.outcome.seconds[phase].append(self._sample(phase, self.calls[phase]))

    def _sample(self, phase: str, calls: int) -> float:
        return _told(self._relay.ask(protocol.Sample(phase, calls), protocol.Sampled)).seconds


def _told(reply: Answer | protocol.Failure) -> Answer:
    if isinstance(reply, protocol.Failure):
        raise Failed(reply.outcome, reply.reason)
    return reply


def relay(contender: Contender, folder: Path, julia: find_julia.Search, limit: float) -> Relay:
    """Starts a contender's worker in the environment that the suite gives its own."""
    needs_julia = contender.name in ("julia", "yao")
    env = variables.environment("float64", "cpu", THREADS, julia.julia if needs_julia else None)
    command: Sequence[str] = COMMAND
    if contender.peer:
        del env["PYTHONSAFEPATH"]
        env["PYTHONPATH"] = str(ROOT)
        command = contender.command or (sys.executable, "-m", "peers.serve", contender.name)
    return Relay(
        lambda: Worker(env, folder / f"{contender.name}.log", THREADS, command),
        lambda: protocol.Open(contender.name, "float64", "cpu", THREADS, protocol.VERSION),
        limit,
    )


def play(
    problem: Problem, contenders: Sequence[Contender], folder: Path, rounds: int, julia: find_julia.Search,
    limit: float = 1800.0, tell: Tell = lambda text: None,
) -> list[Outcome]:  # fmt: skip
    """The outcomes of all contenders, in their order. The first is the reference, which the others must agree with.

    Args:
        problem: what is computed.
        contenders: who computes it; a worker each, alive at the same time, of which one at a time works.
        folder: where inputs, answers and logs go.
        rounds: samples of each phase and contender; every round is in another order.
        julia: where Julia was looked for.
        limit: seconds that a worker may take over a request.
        tell: told what is being done.

    Raises:
        UsageError: if the folder cannot be written.
    """
    task = tasks.get(problem.task)
    changes: dict[str, int | float] = {"qubits": problem.qubits, "depth": problem.depth}
    config = dataclasses.replace(task.configure(problem.variant, "large"), **changes)
    with files.one_thread():
        inputs = task.draw(config, 0)
    case = Case(problem.task, problem.variant, "large", 0)
    inputs["directions"] = files.directions(inputs["params"].size, case)
    path = folder / "inputs.npz"
    files.save(path, inputs)
    outcomes = [Outcome(contender) for contender in contenders]
    reference: tuple[float, Array] | None = None
    with contextlib.ExitStack() as stack:
        playing: list[Playing] = []
        for outcome in outcomes:
            contender = outcome.contender
            tell(f"{problem.name} · {contender}: first call")
            one = Playing(outcome, stack.enter_context(relay(contender, folder, julia, limit)))
            request = protocol.Prepare(
                problem.task, problem.variant, "large", contender.method, str(path.absolute()),
                overrides=changes, config=dataclasses.asdict(config),
            )  # fmt: skip
            try:
                if contender.name in ("julia", "yao") and julia.julia is None:
                    raise Failed("unavailable", f"Julia is unavailable: {julia.reason}")
                answer = one.answer(request, folder / f"{str(contender).replace(' ', '-')}.npz")
                outcome.error = difference(answer, reference or answer)
                if not outcome.error <= 10 * task.tolerance:
                    raise Failed("disagrees", f"it differs from {contenders[0]} by {outcome.error:.1e}")
                reference = reference or answer
                one.warm_up()
                playing.append(one)
            except Failed as error:
                outcome.refuse(error)
            if reference is None:
                for other in outcomes[1:]:
                    other.refuse(Failed("error", "there is no reference to compare it with"))
                return outcomes
        for count in range(rounds):
            tell(f"{problem.name} · round {count + 1} of {rounds}")
            start = count % len(playing)
            for one in playing[start:] + playing[:start]:
                if not one.outcome.refused:
                    try:
                        one.take()
                    except Failed as error:
                        one.outcome.refuse(error)
    return outcomes


def difference(answer: tuple[float, Array], reference: tuple[float, Array]) -> float:
    """The larger of |L − L₀|/max(1, |L₀|) and ‖g − g₀‖/‖g₀‖."""
    (value, gradient), (value0, gradient0) = answer, reference
    if gradient.shape != gradient0.shape:
        return float("inf")
    slope = float(np.linalg.norm(gradient - gradient0) / np.linalg.norm(gradient0))
    return float(np.max([abs(value - value0) / max(1.0, abs(value0)), slope]))  # unlike `max`, it keeps a NaN
