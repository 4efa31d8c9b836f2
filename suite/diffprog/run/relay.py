"""The workers of a group, one after another: one that died costs the cell it was at, and a fresh one takes over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from diffprog import tasks
from diffprog.records import protocol
from diffprog.run import plan, roofline
from diffprog.run.processors import Claim
from diffprog.run.settings import RATES, Settings, caches
from diffprog.run.workers import Worker, WorkerDied
from diffprog.run.workers import environment as worker_environment

Answer = TypeVar("Answer", protocol.Ready, protocol.Result, protocol.Sampled)
OnPhase = Callable[[str], None]


class Relay:
    """At most one living worker, started when it is first needed. Use as a context manager.

    Args:
        start: starts a worker.
        opening: the request that opens it.
        time_limit: seconds that a worker may take over a request.
        alone: whether each cell is to have a worker of its own; who asks for cells then calls `retire` before each.
    """

    def __init__(
        self,
        start: Callable[[], Worker],
        opening: Callable[[], protocol.Open],
        time_limit: float,
        alone: bool = False,
    ) -> None:
        self.alone = alone
        self._start, self._opening, self.time_limit = start, opening, time_limit
        self._worker: Worker | None = None
        self._opened: protocol.Ready | protocol.Failure | None = None

    @property
    def claim(self) -> Claim | None:
        """The processors of the worker, while there is one."""
        return None if self._worker is None else self._worker.claim

    def open(self, on_phase: OnPhase = lambda name: None) -> protocol.Ready | protocol.Failure:
        """An opened worker, or why there is none. A refusal to open stands; after a death the next call tries again."""
        if isinstance(self._opened, protocol.Failure):
            return self._opened
        if self._worker is not None and not self._worker.alive:
            self._end(None)
        if self._opened is None:
            on_phase("starting the worker")
            try:
                self._worker = self._start()
                reply = self._worker.ask(self._opening(), self.time_limit, on_phase)
            except WorkerDied as death:
                return protocol.Failure(death.outcome, str(death))
            self._opened = self._in_place(_expected(reply, protocol.Ready))
        return self._opened

    def retire(self) -> None:
        """Ends the worker, if there is one: the next call of `open` starts another. A refusal to open stands."""
        if not isinstance(self._opened, protocol.Failure):
            self._end(None)

    def ask(
        self, request: protocol.Request, expected: type[Answer], on_phase: OnPhase = lambda name: None
    ) -> Answer | protocol.Failure:
        """The worker's answer; its death, and an answer of another kind, are failures with an outcome of their own."""
        assert self._worker is not None
        try:
            reply = self._worker.ask(request, self.time_limit, on_phase)
        except WorkerDied as death:
            return protocol.Failure(death.outcome, str(death))
        return self._in_place(_expected(reply, expected))

    def _in_place(self, answer: Answer | protocol.Failure) -> Answer | protocol.Failure:
        """The answer, unless the worker gave it on other processors than its own."""
        if isinstance(answer, protocol.Failure) or self._worker is None or not (told := self._worker.strayed()):
            return answer
        return protocol.Failure("error", told)

    def close(self) -> None:
        """Ends the worker, if there is one."""
        self._end(None)

    def _end(self, error: BaseException | None) -> None:
        """Asks the worker to end; where something was raised, ends it at once."""
        worker, self._worker, self._opened = self._worker, None, None
        if worker is not None:
            if error is None:
                worker.close()
            else:
                worker.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)


def _expected(reply: protocol.Reply, kind: type[Answer]) -> Answer | protocol.Failure:
    if isinstance(reply, kind | protocol.Failure):
        return reply
    return protocol.Failure("error", f"the worker answered {type(reply).__name__}")


def of_group(group: plan.Group, settings: Settings, folder: Path, rates: roofline.Book) -> Relay:
    """The workers of a group; the first one that a backend, device and precision has measures their rates."""
    julia = settings.julia.julia if group.backend == "julia" else None
    model = tasks.get(group.task).folder
    env = worker_environment(group.precision, group.device, settings.threads, julia, settings.keep, folder=model)
    env |= caches(settings)
    if settings.installation is not None:
        env = settings.installation.environment(env)
    if group.backend in settings.workers:
        del env["PYTHONSAFEPATH"]  # a program of others may be a Python script with modules beside it
    log = folder / "logs" / f"{group.task}-{group.backend}-{group.device}-{group.precision}.log"
    command = settings.workers.get(group.backend) or settings.command
    key = roofline.Key(group.backend, group.device, group.precision, settings.threads)

    def opening() -> protocol.Open:
        wanted = settings.seconds > 0 and rates.get(key) is None
        return protocol.Open(
            group.backend, group.precision, group.device, settings.threads, protocol.VERSION,
            rates=min(RATES, settings.seconds) if wanted else 0.0,
        )  # fmt: skip

    return Relay(lambda: Worker(env, log, settings.threads, command), opening, settings.time_limit, group.alone)
