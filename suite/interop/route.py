"""What both ways to Julia have in common: loaded functions, kept pullbacks, and what may be asked of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import cast

import numpy as np

from suite.interop.errors import BridgeError, JuliaError, JuliaInterrupted
from suite.interop.function import JuliaFunction
from suite.interop.wire import Optional, Status, What
from suite.spec import Array


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
        self._released: deque[int] = deque()

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
        raise JuliaError(kind, message, backtrace)

    def contiguous(self, array: Array) -> Array:
        """The array in C order, aligned and in this machine's byte order; a copy only where it was not."""
        flags = array.flags
        if flags.c_contiguous and flags.aligned:
            return array
        self.copies += 1
        return np.ascontiguousarray(array)

    def held(self) -> int:
        """How many pullbacks and lent arrays Julia holds for this side."""
        return self.transact(What.NOTHING)[0]

    def release(self, key: int, generation: int) -> None:
        """Lets go of something kept, with the next request: from any thread, and from a finaliser too."""
        if generation == self.generation:
            self._released.append(key)

    def taken(self) -> list[int]:
        """The keys to release with this request."""
        found: list[int] = []
        while self._released and len(found) < 1000:
            found.append(self._released.popleft())
        return found


class Kept:
    """A pullback that Julia keeps until this object is gone; ``inputs`` is the memory that it may look at."""

    __slots__ = ("__weakref__", "_generation", "_route", "inputs", "key")

    def __init__(self, route: Route, key: int, inputs: Sequence[Optional]) -> None:
        self._route, self.key, self.inputs = route, key, inputs
        self._generation = route.generation

    def __call__(self, cotangents: Sequence[Optional]) -> list[Optional]:
        """x̄ = Jᵀȳ: a cotangent for each input, None for integers.

        Raises:
            BridgeError: if Julia was started again since.
        """
        if self._generation != self._route.generation:
            raise BridgeError("the Julia process that kept this pullback has ended: run the forward pass again")
        return self._route.transact(What.PULLBACK, self.key, cotangents)[1]

    def __del__(self) -> None:
        self._route.release(self.key, self._generation)


class Loaded:
    """A function on a route. x, ẋ and ȳ are sequences of arrays: the inputs, tangents (None: none), cotangents."""

    def __init__(self, route: Route, function: JuliaFunction) -> None:
        self.route, self.function = route, function
        self._key, self._generation = 0, -1
        self.key  # noqa: B018 - a mistake in the code is told where the function is made

    @property
    def key(self) -> int:
        """Its number in Julia, where it is loaded again if Julia was started again."""
        if self._generation != self.route.generation or not self._key:
            self._key, _ = self.route.transact(What.LOAD, arrays=self.function.messages())
            self._generation = self.route.generation
        return self._key

    def primal(self, x: Sequence[Array]) -> list[Array]:
        """f(x)."""
        return _all(self.route.transact(What.CALL, self.key, x)[1])

    def forward(self, x: Sequence[Array]) -> tuple[list[Array], Kept]:
        """y, and the pullback from this very forward pass."""
        x = [self.route.contiguous(array) for array in x]  # what Julia looks at later, it must look at now
        key, y = self.route.transact(What.FORWARD, self.key, x)
        return _all(y), Kept(self.route, key, x)

    def pushforward(self, x: Sequence[Array], tangents: Sequence[Optional]) -> list[Array]:
        """ẏ = Jẋ.

        Raises:
            BridgeError: if the function has no forward rule.
        """
        return _all(self.route.transact(What.PUSHFORWARD, self.key, [*x, *tangents], len(x))[1])

    def second(self, x: Sequence[Array], tangents: Sequence[Optional], cotangents: Sequence[Array]) -> list[Optional]:
        """d/dε J(x + εẋ)ᵀȳ: a cotangent for each input, None for integers.

        Raises:
            BridgeError: if the function has no second-order rule.
        """
        return self.route.transact(What.SECOND, self.key, [*x, *tangents, *cotangents], len(x))[1]

    def seconds_in_julia(self, x: Sequence[Array], calls: int, *, with_pullback: bool = False) -> Array:
        """What ``calls`` calls take within Julia, with nothing crossing, s, (calls,)."""
        number = -calls if with_pullback else calls
        return _all(self.route.transact(What.TIME, self.key, x, number)[1])[0]


def _all(arrays: list[Optional]) -> list[Array]:
    """Results of a function, which are arrays all: only cotangents may be absent."""
    return cast("list[Array]", arrays)
