"""What a task declares of itself: its problems, how they are drawn, judged and fitted, and what they cost at least."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffprog.errors import UsageError, nearest
from diffprog.spec import BACKENDS, SIZES, Array, Arrays, Layout, Limit


@dataclass(frozen=True)
class Minimax:
    """How a variant is fitted whose loss some blocks of θ minimise and the others maximise: to a saddle.

    Adam moves all blocks at once. Steps of one rate go around a saddle instead of to it. So the blocks that ascend have
    a rate of their own, the two time scales of Heusel et al., arXiv:1706.08500, and all rates fall linearly to nothing
    over the steps. L-BFGS is not for it: see `NO_LINE_SEARCH`.

    Attributes:
        ascend: the names of the blocks that maximise.
        pace: their rate, as a multiple of ``rate``.
        size: in the place of that in `Fit`, as are the next two.
        steps: Adam steps.
        rate: Adam's first step size where the loss is minimised.
        saddle: the loss at the solution, in its own unit.
    """

    ascend: tuple[str, ...]
    pace: float
    size: str
    steps: int
    rate: float
    saddle: float


NO_LINE_SEARCH = "L-BFGS takes a loss down along every direction, and this one has a saddle, which it would go past"
"""Why L-BFGS does not fit a minimax."""


@dataclass(frozen=True)
class Fit:
    """How ``diffprog fit`` optimises a task.

    Attributes:
        variants: the variants that can be fitted; the first is the default.
        size: the default size.
        steps: Adam steps and L-BFGS iterations at most.
        rate: Adam's step size.
        draw: ``(config, seed)`` to float64 arrays: what `Task.draw` gives, the start in ``params``; and, where there
            are such, ``fit_source`` s (P,), which makes the objective L(θ) − s·θ; ``fit_scan`` (M, P), points at which
            value and gradient are evaluated at the end; ``fit_planted`` (P,); ``fit_bounds`` (2,), between which L-BFGS
            keeps every parameter; ``batches_<name>`` (M, …), minibatches
            that take the place of the array <name> in turn while Adam runs.
        minimax: those of the variants whose loss is not minimised by all of θ: what is drawn then gets ``fit_pace``
            (P,), what each parameter's step of Adam is multiplied by, negative where it ascends.
    """

    variants: tuple[str, ...]
    size: str
    steps: int
    rate: float
    draw: Callable[[Any, int], Arrays]
    minimax: Mapping[str, Minimax] = field(default_factory=dict)

    def defaults(self, variant: str) -> Fit | Minimax:
        """Where the size, the steps and the rate of a variant stand."""
        return self.minimax.get(variant, self)


@dataclass(frozen=True)
class Demand:
    """The least that one call must do, whoever computes it: what the floor of its time is made of.

    Attributes:
        flops: real additions and multiplications; a complex product is six of them, a complex sum two.
        bytes: inputs read once and results written once.
        resident: bytes of what is passed over again and again: a state vector, a tape, a matrix.
        sweeps: how often all of it is read or written. What fits into a cache need not be moved.
    """

    flops: float
    bytes: float
    resident: float = 0.0
    sweeps: float = 0.0

    def moved(self, cache: float) -> float:
        """Bytes that go through the memory at least, where ``cache`` bytes can be kept nearer by."""
        return self.bytes + self.sweeps * max(0.0, self.resident - cache)


@dataclass(frozen=True)
class Allowed:
    """What a method may be off by besides rounding: of the value over max(1, |L|), of the others in relative L2."""

    value: float = 0.0
    gradient: float = 0.0
    outputs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Approximation:
    """The right answer of a method that approximates, at one case's inputs, computed by the reference in float64.

    Attributes:
        value: what the method's value is compared with.
        gradient: what its gradient (P,) is compared with.
        outputs: what its outputs are compared with.
        allowed: by precision (``float64``, ``float32``): how far the method may be from these besides rounding.
        distance: how far ``gradient`` itself may be from the reference's, relative L2: else the method is wrong.
    """

    value: float
    gradient: Array
    outputs: Arrays
    allowed: Mapping[str, Allowed] = field(default_factory=dict)
    distance: float = math.inf


@dataclass(frozen=True)
class Task:
    """The declaration of a task. The mathematics lives beside it, one module a backend.

    Attributes:
        name: the folder's name under ``tasks/``.
        title: one line for people.
        variants: the kinds of problem within the task.
        methods: how the gradient may be computed; the first is the reference's, unless ``references`` names another.
        configure: ``(variant, size)`` to a frozen dataclass of scalars and strings; raises UsageError where a variant
            has no such size.
        draw: ``(config, seed)`` to float64 arrays: ``params`` of shape ``(P,)`` and the data.
        layout: the names and shapes within ``params``.
        work: the work invariants that every backend must report, from the configuration alone.
        extent: ``config`` to the name and the number of what the cost grows with, for the fits of time and memory
            against size; without unit, and larger for each larger size of a variant.
        memory: ``(config, method, itemsize)`` to an estimate of the peak host memory of a gradient, in bytes.
        tolerance: the largest relative L2 error of a float64 gradient against the reference.
        tolerances: by operator, of ``config``, where it is not ``tolerance``: second derivatives lose more digits.
        closed_form: ``(config, inputs)`` to ``(value, gradient)`` where the exact answer is known, else None.
        approximating: methods that do not compute what the reference computes, but something near it.
        approximation: ``(config, method, inputs)`` to what such a method should answer at these inputs: its cells are
            judged by that, and by what it says may be off.
        counts: outputs that are a method's own affair, such as iterations: they are not compared.
        loose: ``config`` to the outputs that are worse conditioned than the loss, with p: they may be off by 10 eps^p.
        kinks: ``config`` to what finite differences of the value may be off by, relative to ‖g‖, however well they seem
            to converge: where a truncation is decided by the parameters, the value has small kinks.
        adaptive: methods that choose their own steps, so that of the work invariants they report ``parameters`` alone.
        bound: the exact lower bound of the loss, in its own unit, where it is known, else None: a fit is shown with it.
        describe: what the data of a configuration is, in a few words.
        fit: how the task is optimised; None if there is nothing to optimise.
        float32_floor: the relative L2 error that a float32 gradient may have however near the reference's own came, for
            tasks whose condition number makes one float32 error a poor measure of another.
        references: the reference's method by variant, where it is not the first.
        demand: ``(config, method, operator, itemsize)`` to the least that a call of ``value`` or ``gradient`` does,
            None where that is not known beforehand. Derived in the task's README, under *Floor*.
        backends: those that it is written for.
        sizes: those that it has.
        engines: the engine that is used where none is asked for, by (backend, operator), where it is not the usual one.
        limits: what engines are known not to do here, besides what they do nowhere.
        goals: what gradient ÷ value should be at most, by method.
        explained: why gradient ÷ value is what it is, by method.
        by_hand: whether NumPy has derivatives by hand, which all others are judged by. Where it has none, the first
            gradient that agrees with finite differences is what they are judged by.
        folder: where a model from outside lies; None for the suite's own tasks.
        undefined: ``(config, inputs)`` to the reason why the gradient does not exist at these inputs, empty where it
            does. Such a cell is ``unsupported`` on every backend, whatever number would have come out.
    """

    name: str
    title: str
    variants: tuple[str, ...]
    methods: tuple[str, ...]
    configure: Callable[[str, str], Any]
    draw: Callable[[Any, int], Arrays]
    layout: Callable[[Any], Layout]
    work: Callable[[Any], dict[str, int]]
    extent: Callable[[Any], tuple[str, float]]
    memory: Callable[[Any, str, int], int]
    tolerance: float
    tolerances: Mapping[str, Callable[[Any], float]] = field(default_factory=dict)
    closed_form: Callable[[Any, Mapping[str, Array]], tuple[float, Array] | None] = lambda config, inputs: None
    approximating: tuple[str, ...] = ()
    approximation: Callable[[Any, str, Mapping[str, Array]], Approximation] | None = None
    counts: tuple[str, ...] = ()
    loose: Callable[[Any], Mapping[str, float]] = lambda config: {}
    kinks: Callable[[Any], float] = lambda config: 0.0
    adaptive: tuple[str, ...] = ()
    bound: Callable[[Any], float | None] = lambda config: None
    describe: Callable[[Any], str] = lambda config: ""
    fit: Fit | None = None
    float32_floor: float = 0.0
    references: Mapping[str, str] = field(default_factory=dict)
    undefined: Callable[[Any, Mapping[str, Array]], str] = lambda config, inputs: ""
    demand: Callable[[Any, str, str, int], Demand | None] = lambda config, method, operator, itemsize: None
    backends: tuple[str, ...] = BACKENDS
    sizes: tuple[str, ...] = SIZES
    engines: Mapping[tuple[str, str], str] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    goals: Mapping[str, float] = field(default_factory=dict)
    explained: Mapping[str, str] = field(default_factory=dict)
    by_hand: bool = True
    folder: Path | None = None

    def tolerance_of(self, config: Any, operator: str) -> float:
        """The largest relative L2 error of a float64 derivative by an operator."""
        own = self.tolerances.get(operator)
        return self.tolerance if own is None else own(config)

    def reference_method(self, variant: str) -> str:
        """The method of the cell that the others of a variant's cases are compared with."""
        return self.references.get(variant, self.methods[0])

    def check(self, *, variant: str | None = None, method: str | None = None) -> None:
        """Raises UsageError, with the valid names, if the task lacks the variant or method."""
        for kind, asked, known in (("variant", variant, self.variants), ("method", method, self.methods)):
            if asked is not None and asked not in known:
                told = f"task {self.name} has no {kind} {asked!r}; it has: {', '.join(known)}"
                raise UsageError(told + nearest(asked, known))
