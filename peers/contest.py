"""Contenders on one problem: answers compared with the reference first, then samples in turn."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from diffprog import tasks
from diffprog.agree import errors
from diffprog.backends import find_julia
from diffprog.measure import clock
from diffprog.records import protocol
from diffprog.run import files, variables
from diffprog.run.relay import Relay
from diffprog.run.versus import Failed, warmed_up
from diffprog.run.workers import COMMAND, Worker
from diffprog.spec import Array, Case

ROOT = Path(__file__).resolve().parent.parent
THREADS = 1
ON_JULIA = ("julia", "yao")
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
    failure: protocol.Failure | None = None
    error: float = float("nan")
    first: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {phase: [] for phase in PHASES})
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def refused(self) -> str:
        """Why it has no times; empty where it has."""
        return "" if self.failure is None else self.failure.reason

    @property
    def failed(self) -> bool:
        """Whether it is refused for something else than not being installed."""
        return self.failure is not None and self.failure.outcome != "unavailable"


class Playing:
    """A contender with its worker, from its start to its last sample. Whatever it does may raise `Failed`."""

    def __init__(self, outcome: Outcome, relay: Relay) -> None:
        self.outcome, self._relay = outcome, relay
        self._calls: dict[str, int] = {}

    def answer(self, request: protocol.Prepare, arrays: Path) -> tuple[float, Array]:
        """Value and gradient of the prepared problem."""
        self.outcome.versions = _told(self._relay.open()).versions
        _told(self._relay.ask(request, protocol.Ready))
        first = _told(self._relay.ask(protocol.Measure(0, 0.0, str(arrays)), protocol.Result)).seconds
        assert first.first_value is not None and first.first_gradient is not None  # or the answer was not believed
        self.outcome.first = {"value": first.first_value, "gradient": first.first_gradient}
        found = files.load(arrays)
        return float(found[protocol.VALUE_ALONE]), found["gradient"]

    def warm_up(self) -> None:
        """Until it knows how many calls last `clock.SHORTEST`."""
        for phase in PHASES:
            self._calls[phase] = max(1, int(1.2 * clock.SHORTEST / warmed_up(partial(self._sample, phase))))

    def take(self) -> None:
        for phase in PHASES:
            self.outcome.seconds[phase].append(self._sample(phase, self._calls[phase]))

    def _sample(self, phase: str, calls: int) -> float:
        return _told(self._relay.ask(protocol.Sample(phase, calls), protocol.Sampled)).seconds


def _told(reply: Answer | protocol.Failure) -> Answer:
    if isinstance(reply, protocol.Failure):
        raise Failed(reply)
    return reply


def relay(contender: Contender, folder: Path, julia: find_julia.Search, limit: float) -> Relay:
    """Starts a contender's worker in the environment that the suite gives its own."""
    needed = julia.julia if contender.name in ON_JULIA else None
    env = variables.environment("float64", "cpu", THREADS, needed)
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
                if contender.name in ON_JULIA and julia.julia is None:
                    raise Failed(protocol.Failure("unavailable", f"Julia is unavailable: {julia.reason}"))
                answer = one.answer(request, folder / f"{str(contender).replace(' ', '-')}.npz")
                outcome.error = difference(answer, reference or answer)
                if not outcome.error <= 10 * task.tolerance:
                    told = f"it differs from {contenders[0]} by {outcome.error:.1e}"
                    raise Failed(protocol.Failure("disagrees", told))
                reference = reference or answer
                one.warm_up()
                playing.append(one)
            except Failed as error:
                outcome.failure = error.failure
            if reference is None:
                for other in outcomes[1:]:
                    other.failure = protocol.Failure("error", "there is no reference to compare it with")
                return outcomes
        for count in range(rounds):
            tell(f"{problem.name} · round {count + 1} of {rounds}")
            start = count % max(1, len(playing))
            for one in playing[start:] + playing[:start]:
                try:
                    one.take()
                except Failed as error:
                    one.outcome.failure = error.failure
            playing = [one for one in playing if one.outcome.failure is None]
    return outcomes


def difference(answer: tuple[float, Array], reference: tuple[float, Array]) -> float:
    """The larger of the value's error, |L − L₀|/max(1, |L₀|), and the gradient's, ‖g − g₀‖/‖g₀‖."""
    (value, gradient), (value0, gradient0) = answer, reference
    if gradient.shape != gradient0.shape:
        return float("inf")
    both = errors.of_value(value, value0), errors.relative(gradient, gradient0)
    return float(np.max(both))  # unlike `max`, it keeps a NaN
