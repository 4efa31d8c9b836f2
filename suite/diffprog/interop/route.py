"""What both ways to Julia have in common: loaded functions, kept pullbacks, and what may be asked of them."""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from diffprog.interop import wire
from diffprog.interop.errors import BridgeError, Gone, JuliaError, JuliaInterrupted
from diffprog.interop.function import JuliaFunction
from diffprog.interop.wire import Optional, Status, What
from diffprog.spec import Array


class Route(ABC):
    """A way to Julia. Arrays go in and come out as NumPy's.

    Attributes:
        copies: how many arrays were copied on the way in because Julia could not use them where they were.
    """

    name: str

    def __init__(self) -> None:
        self.copies = 0
        self.generation = 0
        """Raised when Julia starts again: what was kept before is gone."""
        self._released: deque[int | _Key] = deque()
        self._watched: dict[int, _Key] = {}
        self._asked: dict[int, int] = {}
        """Under which key the last forward pass of a thread is kept, until somebody has that key."""

    def __getstate__(self) -> dict[str, Any]:
        """Copied without what waits to be released: that is the process's own."""
        return self.__dict__ | {"_released": deque(), "_watched": {}, "_asked": {}}

    @abstractmethod
    def transact(
        self, what: What, key: int = 0, arrays: Sequence[Optional] = (), number: int = 0
    ) -> tuple[int, list[Optional]]:
        """Sends one request; returns the key and the arrays of its reply.

        Raises:
            JuliaError: for an exception of the Julia code.
            JuliaInterrupted: if Ctrl-C stopped the call.
            BridgeError: if the bridge cannot do it.
            TypeError: for a dtype that cannot cross.
        """

    def load(self, function: JuliaFunction) -> Loaded:
        """The function, ready to be called; it is compiled when it first is."""
        return Loaded(self, function)

    def settle(self, status: int, key: int, arrays: list[Optional]) -> tuple[int, list[Optional]]:
        """The reply, or the exception that it stands for."""
        if not status:  # Status.OK
            return key, arrays
        if status == Status.INTERRUPTED:
            raise JuliaInterrupted("the Julia call was interrupted")
        kind, message, backtrace = ("" if a is None else a.tobytes().decode(errors="replace") for a in arrays)
        if status == Status.REFUSED:
            raise BridgeError(message)
        if status == Status.GONE:
            raise Gone(message)
        raise JuliaError(kind, message, backtrace)

    def contiguous(self, array: Array) -> Array:
        """The array in C order, aligned and in this machine's byte order; a copy only where it was not.

        Raises:
            TypeError: for an array with masked elements.
        """
        if type(array) is np.ndarray:
            flags = array.flags
            if flags.c_contiguous and flags.aligned and array.dtype.isnative:
                return array
        self.copies += 1
        return wire.native(array)

    def held(self) -> int:
        """How many pullbacks and lent arrays Julia holds for this side."""
        return self.transact(What.NOTHING)[0]

    def watch(self, owner: object, key: int) -> None:
        """Lets go of what is kept under ``key`` with the next request after ``owner`` is gone, in whatever thread.

        By a callback that is not Python code: signal handlers may raise in a ``__del__``, and what they raise is lost.
        """
        watching = _Key(owner, self._released.append)
        watching.key = key
        self._watched[key] = watching

    def taken_over(self) -> None:
        """Somebody has the key of this thread's last forward pass."""
        self._asked.pop(threading.get_ident(), None)

    def give_up(self) -> None:
        """After an exception out of a forward pass of this thread: lets go of what is kept for it."""
        key = self._asked.pop(threading.get_ident(), None)
        if key is not None:
            self._released.append(key)

    def waiting(self) -> list[int]:
        """Keys to release with this request; they are waiting until `let_go`, and may be released twice."""
        found = (self._released[k] for k in range(min(len(self._released), 1000)))
        return [one if isinstance(one, int) else one.key for one in found]

    def let_go(self, count: int) -> None:
        """So many keys are released, of those that have waited longest."""
        for _ in range(count):
            one = self._released.popleft()
            if not isinstance(one, int):
                self._watched.pop(one.key, None)

    def taken(self) -> list[int]:
        """The keys to release with a request that cannot fail."""
        found = self.waiting()
        self.let_go(len(found))
        return found


class _Key(weakref.ref[object]):
    """The key of what is kept for an object; calls its callback with itself when the object is gone."""

    __slots__ = ("key",)
    key: int


class Kept:
    """A pullback that Julia keeps until this object is gone; ``inputs`` is the memory that it may look at."""

    __slots__ = ("__weakref__", "_generation", "_route", "inputs", "key")

    def __init__(self, route: Route, key: int, inputs: Sequence[Optional]) -> None:
        self._route, self.key, self.inputs = route, key, inputs
        self._generation = route.generation
        route.watch(self, key)

    @property
    def gone(self) -> bool:
        """Whether Julia was started again since, or this process forked."""
        return self._generation != self._route.generation

    def __call__(self, cotangents: Sequence[Optional]) -> list[Optional]:
        """x̄ = Jᵀȳ: a cotangent for each input, None for integers.

        Raises:
            BridgeError: if Julia was started again since.
        """
        if self.gone:
            raise Gone("the Julia process that kept this pullback has ended: run the forward pass again")
        return self._route.transact(What.PULLBACK, self.key, cotangents)[1]

    def __reduce__(self) -> Any:
        raise TypeError("a pullback is kept by one Julia process, and cannot be copied: run the forward pass again")


class Loaded:
    """A function on a route. x, ẋ and ȳ are sequences of arrays: the inputs, tangents (None: none), cotangents.

    It does not change: a copy is this one. Pickled, it is loaded anew, where and when it is first called.
    """

    def __init__(self, route: Route, function: JuliaFunction) -> None:
        self.route, self.function = route, function
        self._key, self._generation = 0, -1
        self.key  # noqa: B018 - a mistake in the code is told where the function is made

    def __getstate__(self) -> tuple[Route, JuliaFunction]:
        return self.route, self.function

    def __setstate__(self, state: tuple[Route, JuliaFunction]) -> None:
        self.route, self.function = state
        self._key, self._generation = 0, -1

    def __copy__(self) -> Loaded:
        return self

    def __deepcopy__(self, memo: Any) -> Loaded:
        return self

    @property
    def key(self) -> int:
        """Its number in Julia, where it is loaded again if Julia was started again."""
        if self._generation != self.route.generation or not self._key:
            self._key, _ = self.route.transact(What.LOAD, arrays=self.function.messages())
            self._generation = self.route.generation
        return self._key

    def _ask(self, what: What, arrays: Sequence[Optional], number: int = 0) -> tuple[int, list[Optional]]:
        """Of a Julia process that has ended between the loading and the call, the next one is asked."""
        key = self.key
        try:
            return self.route.transact(what, key, arrays, number)
        except Gone:
            self._generation = -1
        return self.route.transact(what, self.key, arrays, number)

    def primal(self, x: Sequence[Array]) -> list[Array]:
        """f(x)."""
        return _all(self._ask(What.CALL, x)[1])

    def forward(self, x: Sequence[Array]) -> tuple[list[Array], Kept]:
        """y, and the pullback from this very forward pass."""
        x = [self.route.contiguous(array) for array in x]  # what Julia looks at later, it must look at now
        try:
            key, y = self._ask(What.FORWARD, x)
            kept = Kept(self.route, key, x)
            self.route.taken_over()
            return _all(y), kept
        except BaseException:
            self.route.give_up()
            raise

    def pushforward(self, x: Sequence[Array], tangents: Sequence[Optional]) -> list[Array]:
        """ẏ = Jẋ.

        Raises:
            BridgeError: if the function has no forward rule.
        """
        return _all(self._ask(What.PUSHFORWARD, [*x, *tangents], len(x))[1])

    def second(self, x: Sequence[Array], tangents: Sequence[Optional], cotangents: Sequence[Array]) -> list[Optional]:
        """d/dε J(x + εẋ)ᵀȳ: a cotangent for each input, None for integers.

        Raises:
            BridgeError: if the function has no second-order rule.
        """
        return self._ask(What.SECOND, [*x, *tangents, *cotangents], len(x))[1]

    def seconds_in_julia(self, x: Sequence[Array], calls: int, *, with_pullback: bool = False) -> Array:
        """What ``calls`` calls take within Julia, with nothing crossing, s, (calls,)."""
        number = -calls if with_pullback else calls
        return _all(self._ask(What.TIME, x, number)[1])[0]


def _all(arrays: list[Optional]) -> list[Array]:
    """Results of a function, which are arrays all: only cotangents may be absent."""
    return cast("list[Array]", arrays)
