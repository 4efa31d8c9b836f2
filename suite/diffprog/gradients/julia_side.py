"""A function of Julia, in a process of its own, which all comparisons share: the worker of `diffprog.interop`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from diffprog import interop
from diffprog.backends import setup_julia
from diffprog.backends.base import in_precision
from diffprog.backends.find_julia import Julia
from diffprog.errors import Unavailable, Unsupported
from diffprog.gradients.given import Given
from diffprog.gradients.sides import Budget
from diffprog.interop import BridgeError, JuliaError, JuliaFunction, Loaded
from diffprog.interop.worker import Worker
from diffprog.models import arrays, checking
from diffprog.models.loading import Fault
from diffprog.spec import Array

USUAL = {"gradient": "zygote", "jvp": "forwarddiff", "hvp": "zygote"}
SOURCE = "the Julia source"


class JuliaSide:
    """See `sides.Side`. Indices are the same as in Python: arrays cross in column-major order.

    Args:
        function: source of ``(params, data) -> ...``, or the path of a .jl file with ``loss(params, data)``.
        given: parameters and data.
        precision: float64 or float32.
        budget: Julia's process is ended when it is over.
    """

    note = ""

    def __init__(self, function: Any, given: Given, precision: str, budget: Budget) -> None:
        self._source, self._file = _source(function)
        self.where = self._file or SOURCE
        self._shapes, self._precision, self._budget = given.shapes, precision, budget
        self._theta0 = given.theta
        self._data = {f"data__{name}": arrays.to_columns(x) for name, x in in_precision(given.data, precision).items()}
        self._loaded: dict[str, Loaded] = {}
        self._route = worker()
        self.value_at(given.theta)

    def _there(self, theta: Array) -> Array:
        return arrays.theta_to_columns(theta.astype(self._precision), self._shapes)

    def _back(self, theta: Array) -> Array:
        return arrays.theta_from_columns(theta, self._shapes)

    def _by(self, engine: str) -> Loaded:
        """The loss with its derivatives by an engine; the usual ones, if empty."""
        if engine not in self._loaded:
            texts = {
                "file": self._file,
                "source": self._source,
                "precision": self._precision,
                "engine": engine,
                "shapes": "\n".join(" ".join([name, *map(str, shape)]) for name, shape in self._shapes),
            }
            function = JuliaFunction("given_loss", texts | self._data | {"theta": self._there(self._theta0)})
            self._loaded[engine] = self._route.load(function)
        return self._loaded[engine]

    def value_at(self, theta: Array) -> float:
        with self._asking():
            (found,) = self._by("").primal([self._there(theta)])
        checking.value(found, found.shape, found.dtype.kind, str(found.dtype), self._precision, self.where)
        return float(found)

    def gradient_at(self, theta: Array) -> Array:
        return self.derivative_at("gradient", USUAL["gradient"], theta, theta)[1]

    def derivative_at(self, operator: str, engine: str, theta: Array, direction: Array) -> tuple[float, Array]:
        x, v = self._there(theta), self._there(direction)
        with self._asking():
            loaded = self._by("" if engine == USUAL[operator] else engine)
            if operator == "gradient":
                (value,), pullback = loaded.forward([x])
                (slope,) = pullback([np.ones_like(value)])
            else:
                (value,) = loaded.primal([x])
                along = (
                    loaded.pushforward([x], [v])
                    if operator == "jvp"
                    else loaded.second([x], [v], [np.ones_like(value)])
                )
                (slope,) = along
        assert slope is not None
        return float(value), np.array(slope) if operator == "jvp" else self._back(np.array(slope))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Within it Julia is asked: its exceptions become ours, and its process ends with the deadline."""
        over = threading.Event()

        def end() -> None:
            over.set()
            self._route.abort()

        timer = threading.Timer(self._budget.left, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except JuliaError as error:
            raise _told(error, self.where, self._precision) from error
        except BridgeError as error:
            if over.is_set():
                raise self._budget.over() from error
            raise Fault(f"{self.where}: {error}") from error
        finally:
            timer.cancel()


def worker() -> Worker:
    """Julia's process; before the first one its package is compiled, which takes minutes, once.

    Raises:
        Unavailable: if there is no Julia.
    """
    try:
        found = interop.route("worker")
    except BridgeError as error:
        reason, _, mend = str(error).partition("; to mend this: ")
        raise Unavailable(reason, mend) from error
    assert isinstance(found, Worker)
    if not (found.julia.precompiled or found.julia in _compiled):
        sys.stderr.write("Precompiling the Julia package, once ...\n")
        setup_julia.precompile(found.julia)
        _compiled.add(found.julia)
    return found


_compiled: set[Julia] = set()
"""Those whose package has been compiled since they were found."""


def _source(function: Any) -> tuple[str, str]:
    """Source and path: one of them is empty.

    Raises:
        Fault: if it is neither.
    """
    if isinstance(function, str) and not function.rstrip().endswith(".jl"):
        if not function.strip():
            raise Fault('the Julia source is empty; write "(params, data) -> ..."')
        return function, ""
    if not isinstance(function, str | Path):
        raise Fault(f"julia is a {type(function).__name__}; it must be Julia source, or the path of a .jl file")
    path = Path(function).expanduser()
    if not path.is_file():
        raise Fault(f"{path}: there is no such file")
    return "", str(path.resolve())


def _told(error: JuliaError, where: str, precision: str) -> Exception:
    """What an exception of Julia's stands for."""
    kind = error.kind.rpartition(".")[2]
    if kind == "PackageMissing":
        reason, _, mend = error.message.partition("; to install it: ")
        return Unavailable(reason, mend)
    if kind == "Unfit":
        shape, kind, dtype = error.message.split("|")
        try:
            checking.value(0.0, tuple(map(int, shape.split())), kind, dtype, precision, where)
        except Fault as fault:
            return fault
    if kind == "ArgumentError":
        return Unsupported(error.message)
    return Fault(error.message if kind == "Fault" else f"{where}: {error.kind}: {error.message}")
