"""The thread that Julia answers to, where that is not the program's main thread."""

from __future__ import annotations

import atexit
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STACK = 64 * 2**20
"""Bytes of the stack of Julia's own thread."""
_Answer = tuple[Any, BaseException | None]


class JuliaThread:
    """A thread that starts Julia, makes all calls to it, and ends it."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[_Answer]] | None] = queue.SimpleQueue()
        self._hooks: list[Callable[[], Any]] = []
        before = threading.stack_size(STACK)
        self._thread = threading.Thread(target=self._serve, name="julia", daemon=True)
        self._thread.start()
        threading.stack_size(before)
        assert self._thread.ident is not None
        self.ident = self._thread.ident

    def _serve(self) -> None:
        while (item := self._work.get()) is not None:
            call, answer = item
            try:
                with _collected_exit_hooks(self._hooks):
                    answer.put((call(), None))
            except BaseException as error:
                answer.put((None, error))
            del item, call, answer
        for hook in self._hooks:
            hook()

    def run(self, call: Callable[[], Any]) -> Any:
        """The result of ``call``, made in this thread. After Ctrl-C its result is dropped when it comes."""
        # Half the time of a concurrent.futures.Future, which could do more than is asked for here.
        answer: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        self._work.put((call, answer))
        result, error = answer.get()
        if error is not None:
            raise error
        return result

    def stop(self) -> None:
        """Ends Julia, in the thread that it answers to."""
        self._work.put(None)
        self._thread.join(timeout=10)


@contextmanager
def _collected_exit_hooks(hooks: list[Callable[[], Any]]) -> Iterator[None]:
    """While juliacall starts: what it wants done at exit is for this thread to do, not for the main thread."""
    if "juliacall" in sys.modules:
        yield
        return
    register = atexit.register

    def collect(hook: Callable[[], Any]) -> Callable[[], Any]:
        hooks.append(hook)
        return hook

    atexit.register = collect  # type: ignore[assignment]
    try:
        yield
    finally:
        atexit.register = register
