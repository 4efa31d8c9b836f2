"""What a task, a case and a cell are: frozen data; no framework is imported here.

A *task* is a piece of mathematics. A *case* is a task with its inputs fixed (variant, size, seed). A *cell* is a case
computed by one method on one backend, device and precision. Cells of one case must agree: that is what is checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""A host array."""
Arrays = dict[str, Array]
"""Named host arrays: ``params`` (the flat θ) and whatever data the task needs."""

BACKENDS = ("numpy", "torch", "jax", "julia")
SIZES = ("tiny", "small", "medium", "large")
PRECISIONS = ("float64", "float32", "tf32")
"""The last is float32 whose matrix products may round their factors to 11 bits, on CUDA devices alone."""
DEVICES = ("cpu", "cuda")
OPERATORS = ("value", "gradient", "jvp", "hvp")
"""L(θ); dL/dθ; dL/dθ·v, by forward mode where an engine has one; d²L/dθ²·v. v is a direction that the host draws."""
OPTIMISERS = ("adam", "lbfgs")
OUTCOMES = (
    "ok",
    "disagrees",
    "unsupported",
    "unavailable",
    "error",
    "timed_out",
    "crashed",
    "out_of_memory",
)


def dtype(precision: str) -> str:
    """The type of the numbers of a precision, by NumPy's name."""
    return "float32" if precision == "tf32" else precision


@dataclass(frozen=True)
class Block:
    """One named block of the flat parameter vector, stored in C order."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """How the flat parameter vector θ of shape ``(P,)`` is cut into named blocks."""

    blocks: tuple[Block, ...]

    @property
    def size(self) -> int:
        """The parameter count P."""
        return sum(block.size for block in self.blocks)

    def split(self, theta: Array) -> Arrays:
        """Views of ``theta`` (shape ``(P,)``) by block name, each in its block's shape.

        Raises:
            ValueError: if ``theta`` is not of shape ``(P,)``.
        """
        if theta.shape != (self.size,):
            raise ValueError(f"expected parameters of shape ({self.size},), got {theta.shape}")
        parts: Arrays = {}
        start = 0
        for block in self.blocks:
            parts[block.name] = theta[start : start + block.size].reshape(block.shape)
            start += block.size
        return parts

    def name_of(self, index: int) -> str:
        """The name of one component of θ, such as ``W[3,5]``, or that of a number alone.

        Raises:
            IndexError: if ``index`` is not in ``range(P)``.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"component {index} of {self.size} parameters")
        for block in self.blocks:
            if index < block.size:
                if not block.shape:
                    return block.name
                where = ",".join(str(int(i)) for i in np.unravel_index(index, block.shape))
                return f"{block.name}[{where}]"
            index -= block.size
        raise AssertionError("unreachable")


@dataclass(frozen=True)
class Case:
    """A task with its inputs fixed: every backend is given these same arrays."""

    task: str
    variant: str
    size: str
    seed: int

    @property
    def key(self) -> str:
        """A name fit for a folder."""
        return f"{self.task}-{self.variant}-{self.size}-seed{self.seed}"


@dataclass(frozen=True)
class Cell:
    """A case computed by one method and engine on one backend, device and precision.

    ``engine`` is what differentiates.
    """

    case: Case
    backend: str
    method: str
    operator: str
    precision: str
    device: str
    engine: str

    @property
    def key(self) -> str:
        """A name that is unique within its case and fit for a file."""
        return f"{self.backend}-{self.engine}-{self.method}-{self.operator}-{self.precision}-{self.device}"

    @property
    def name(self) -> str:
        """A name that is unique within a run."""
        return f"{self.case.key}/{self.key}"


@dataclass(frozen=True)
class Expert:
    """Value and gradient of ``(theta, data)`` by hand, as an expert of the framework writes them; see `Functions`."""

    value: Callable[[Any, Any], Any]
    gradient: Callable[[Any, Any], tuple[Any, Any]]


@dataclass(frozen=True)
class Named:
    """A model of several parameters as its author calls it, which is what is timed: θ is cut before that.

    ``cut(θ)`` are the parameters by name, in θ's order and on its memory where a framework's arrays can be;
    ``loss(params, data)`` is the loss of them. ``gradient(params, data)`` is ``(loss, gradients)`` where they are
    written by hand, and ``flat(gradients)`` makes them one array on the host; None where engines do both.
    """

    cut: Callable[[Any], dict[str, Any]]
    loss: Callable[[Any, Any], Any]
    gradient: Callable[[Any, Any], tuple[Any, Any]] | None = None
    flat: Callable[[Any], Array] | None = None


@dataclass(frozen=True)
class Functions:
    """What a task gives a backend: plain functions of ``(theta, data)`` in the framework's own arrays.

    ``value`` returns the scalar loss; ``gradient`` returns ``(loss, dL/dθ)`` with the gradient flat, in θ's order;
    ``outputs`` returns named arrays for pictures and further checks; ``work`` counts the work that was really done;
    ``made_with`` says in a word or two what computes.
    ``loss`` is the value as the framework's engines can differentiate it, None for a method that is a rule of its own
    for gradients. ``jvp`` and ``hvp`` of ``(theta, data, v)`` return ``(loss, dL/dθ·v)`` and ``(loss, d²L/dθ²·v)``;
    None where an engine makes them from ``loss``, or there are none. ``switches`` are by device what the task chose
    among the framework's algorithms, for the record. ``expert`` is the same loss and gradient for the engine of that
    name, None where there is no such form. ``check`` is asked once with ``(theta, data)``, before anything is timed; it
    raises what is wrong with them. ``named`` is the same loss for what is timed, if it is one of several parameters.
    """

    value: Callable[[Any, Any], Any]
    gradient: Callable[[Any, Any], tuple[Any, Any]]
    outputs: Callable[[Any, Any], dict[str, Any]]
    work: Callable[[Any, Any], dict[str, int]]
    made_with: str
    loss: Callable[[Any, Any], Any] | None = None
    jvp: Callable[[Any, Any, Any], tuple[Any, Any]] | None = None
    hvp: Callable[[Any, Any, Any], tuple[Any, Any]] | None = None
    switches: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    expert: Expert | None = None
    check: Callable[[Any, Any], None] | None = None
    named: Named | None = None


@dataclass(frozen=True)
class Limit:
    """Cells of a backend that an engine cannot do, and why. An empty tuple means all there are."""

    backend: str
    engine: str
    operators: tuple[str, ...]
    reason: str
    variants: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()

    def holds(self, cell: Cell) -> bool:
        """Whether the cell is one of these."""
        return (
            (self.backend, self.engine) == (cell.backend, cell.engine)
            and cell.operator in self.operators
            and (not self.variants or cell.case.variant in self.variants)
            and (not self.devices or cell.device in self.devices)
            and (not self.methods or cell.method in self.methods)
            and (not self.precisions or cell.precision in self.precisions)
            and (not self.sizes or cell.case.size in self.sizes)
        )
