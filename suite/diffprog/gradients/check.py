"""`check_gradients`: whether functions give the same gradient at given arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from diffprog import engines as known
from diffprog.agree.tolerances import Yardstick
from diffprog.errors import UsageError, nearest
from diffprog.gradients import judging
from diffprog.gradients.given import WHERE, Given, given
from diffprog.gradients.measuring import Failed, Measured, failed, measure
from diffprog.gradients.result import GradientCheck
from diffprog.gradients.rows import Row
from diffprog.gradients.sides import Budget, Side, in_words, open_side
from diffprog.models.declaring import TOLERANCE
from diffprog.spec import BACKENDS, Array, Arrays, Cell

OPERATORS = ("gradient", "jvp", "hvp")
PRECISIONS = ("float64", "float32")
TIME_LIMIT = 900.0


def check_gradients(
    functions: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    *,
    torch: Any = None,
    jax: Callable[..., Any] | None = None,
    numpy: Callable[..., Any] | None = None,
    julia: Any = None,
    numpy_gradient: Callable[..., Any] | None = None,
    precision: str = "float64",
    tolerance: float | None = None,
    operators: Sequence[str] = ("gradient",),
    engines: Mapping[str, str] | None = None,
    optional: Sequence[str] = (),
    directions: int = 3,
    seed: int = 0,
    time_limit: float = TIME_LIMIT,
    raises: bool = False,
) -> GradientCheck:
    """Compares losses that should be one and the same, and their derivatives, at the arrays given.

    The first float64 gradient that agrees with extrapolated finite differences judges the others; functions that agree
    with each other but not with finite differences disagree all. One function alone is held against finite
    differences. Determinism is checked, and of a jvp the adjoint identity.

    PyTorch, JAX and NumPy compute in this process, on their default devices, and their settings stay as they are: JAX
    has its 64 bits within the call. Julia computes in a process of its own, which is kept for the next call.

    Args:
        functions: backend name to function; or give them by the keywords below.
        params: named real arrays (NumPy, tensors, JAX arrays) or numbers: what is differentiated by.
        data: named arrays, floating, complex, integer or boolean; none if left out.
        torch: ``loss(params, data)`` on dicts of tensors; or a ``torch.nn.Module`` whose ``forward(data)`` is the loss:
            its parameter ``a.weight`` is called ``a_weight`` here, and ``params`` may be left out.
        jax: ``loss(params, data)`` on dicts of arrays.
        numpy: ``loss(params, data)`` on dicts of arrays; without ``numpy_gradient`` it takes part by its value.
        julia: source, such as ``"(params, data) -> sum(abs2, params.W)"``, or the path of a .jl file with a function
            ``loss(params, data)``, on named tuples. ``W[i, j]`` of Python is ``W[i+1, j+1]`` there.
        numpy_gradient: ``(params, data)`` to the loss and a dict of gradients.
        precision: float64; or float32, where all are judged by the float64 yardstick.
        tolerance: largest relative L2 error of a float64 derivative, 1e-10 if left out. What rounding does to this very
            function is allowed besides. In float32 it is a lower bound of what is allowed.
        operators: of gradient, jvp and hvp; the last two along the first of the random directions.
        engines: by backend, what differentiates; the usual ones if left out (`diffprog.engines.ENGINES`).
        optional: backends that may be unavailable, such as julia on some machines.
        directions: random directions of finite differences.
        seed: of the directions.
        time_limit: s for each backend. Julia is ended by then; a function in this process is asked no more.
        raises: raise GradientMismatch unless all is ok.

    Raises:
        UsageError: for arguments that make no sense, in one sentence.
        GradientMismatch: with ``raises``.

    Example:
        >>> check_gradients(torch=f, jax=g, params={"W": W, "b": b}, data={"X": X, "y": y})
    """
    chosen = _functions(functions, {"numpy": numpy, "torch": torch, "jax": jax, "julia": julia})
    if params is None:
        params = _of_module(chosen.get("torch"))
    _check_options(chosen, numpy_gradient, precision, tolerance, operators, engines, optional, time_limit)
    comparison = _Comparison(
        chosen, numpy_gradient, given(params, data, directions, seed), TOLERANCE if tolerance is None else tolerance,
        tolerance or 0.0, dict(engines or {}), tuple(optional), seed, float(time_limit),
    )  # fmt: skip
    result = comparison.result(tuple(dict.fromkeys(operators)), precision)
    return result.raise_for_status() if raises else result


class _Comparison:
    """The functions, each opened once in a precision."""

    def __init__(
        self, functions: dict[str, Any], by_hand: Callable[..., Any] | None, given: Given, tolerance: float,
        floor: float, engines: dict[str, str], optional: tuple[str, ...], seed: int, limit: float,
    ) -> None:  # fmt: skip
        self._functions, self._by_hand, self._given, self._seed = functions, by_hand, given, seed
        self._tolerance, self._engines, self._optional = tolerance, engines, optional
        self._task = judging.task(given, tolerance, floor)
        self._budgets = {backend: Budget(limit) for backend in functions}
        self._sides: dict[tuple[str, str], Side | Exception] = {}

    def result(self, operators: Sequence[str], precision: str) -> GradientCheck:
        """Of all functions by all operators."""
        rows, notes = [], []
        for operator in operators:
            doubles = [self._measured(self._cell(backend, operator)) for backend in self._functions]
            good = [one for one in doubles if isinstance(one, Measured)]
            yardstick = judging.leader(self._task, good, self._given)
            judged: list[Measured | Failed] = doubles
            if precision == "float32":
                judged = [self._measured(judging.single(one.cell)) for one in doubles]
                lead = next((k for k, one in enumerate(doubles) if yardstick and one.cell.key == yardstick.key), None)
                if yardstick is not None and lead is not None:
                    yardstick = judging.in_float32(self._task, yardstick, judged[lead])
            rows += [self._row(one, yardstick) for one in judged]
            if yardstick is None:
                alike = judging.alike(good, self._tolerance)
                if alike:
                    several = f"{', '.join(alike[:-1])} and {alike[-1]}"
                    notes.append(f"{several} give the same {operator}, which is not that of finite differences")
            elif precision == "float32":
                notes.append(f"judged by the float64 {operator} of {yardstick.key.partition('-')[0]}")
        notes += [
            f"{backend}: {in_words(side.note)}"
            for (backend, _), side in self._sides.items()
            if not isinstance(side, Exception) and side.note
        ]
        return GradientCheck(
            tuple(rows), precision, {name: x.shape for name, x in self._given.params.items()}, tuple(notes)
        )

    def _cell(self, backend: str, operator: str) -> Cell:
        if backend == "numpy" and self._by_hand is None:
            operator = "value"
        engine = self._engines.get(backend) or known.default(backend, operator)
        return judging.cell(backend, engine, operator, "float64", self._seed)

    def _measured(self, cell: Cell) -> Measured | Failed:
        if reason := known.limit(cell, self._task.limits):
            return Failed(cell, "unsupported", reason)
        side = self._side(cell.backend, cell.precision)
        if isinstance(side, Exception):
            return failed(cell, side)
        return measure(cell, side, self._given, self._tolerance)

    def _side(self, backend: str, precision: str) -> Side | Exception:
        key = backend, precision
        if key not in self._sides:
            by_hand = self._by_hand if backend == "numpy" else None
            try:
                self._sides[key] = open_side(
                    backend, self._functions[backend], by_hand, self._given, precision, self._budgets[backend]
                )
            except Exception as error:  # of the function, or of what computes it: the outcome of its cells
                self._sides[key] = error
        return self._sides[key]

    def _row(self, one: Measured | Failed, yardstick: Yardstick | None) -> Row:
        cell, optional = one.cell, one.cell.backend in self._optional
        outcome, reason, agreement = judging.judge(self._task, one, yardstick)
        if isinstance(one, Failed):
            return Row(
                cell.backend, cell.operator, cell.engine, outcome, reason, one.mend, optional=optional, cause=one.cause
            )
        value = float(one.arrays["value"])
        parts, errors = self._parts(one), {}
        if parts and yardstick is not None and agreement is not None and agreement.reference != "itself":
            errors = self._errors(one.arrays[cell.operator], cell.operator, yardstick)
        return Row(
            cell.backend, cell.operator, cell.engine, outcome, reason, value=value, derivative=parts, errors=errors,
            agreement=agreement, optional=optional,
        )  # fmt: skip

    def _parts(self, one: Measured) -> Arrays:
        """The derivative by parameter name."""
        found = one.arrays.get(one.cell.operator)
        if one.cell.operator == "value" or found is None:
            return {}
        if one.cell.operator == "jvp":
            return {"jvp": found}
        return self._given.layout.split(found) if found.shape == self._given.theta.shape else {}

    def _errors(self, found: Array, operator: str, yardstick: Yardstick) -> dict[str, float]:
        if operator == "jvp":
            return {"jvp": float(np.abs(found - yardstick.derivative)) / (yardstick.scale or 1.0)}
        return judging.by_block(found, yardstick.derivative, self._given.layout, yardstick.scale)


def _functions(named: Mapping[str, Any] | None, keywords: dict[str, Any]) -> dict[str, Any]:
    """The functions by backend, in the suite's order."""
    if named is not None and not isinstance(named, Mapping):
        raise UsageError(f"{WHERE}: functions is a {type(named).__name__}; it is a dict of backends and functions")
    found = {name: function for name, function in keywords.items() if function is not None}
    for name, function in (named or {}).items():
        if name not in BACKENDS:
            told = f"{WHERE}: there is no backend {name!r}; there are: {', '.join(BACKENDS)}"
            raise UsageError(told + nearest(str(name), BACKENDS))
        if name in found:
            raise UsageError(f"{WHERE}: the function of {name} is given twice")
        found[name] = function
    if not found:
        raise UsageError(f"{WHERE}: no function is given; give some of {', '.join(f'{name}=' for name in BACKENDS)}")
    for name in found:
        if name != "julia" and not callable(found[name]):
            raise UsageError(f"{WHERE}: {name} is a {type(found[name]).__name__}; it must be a function")
    return {name: found[name] for name in BACKENDS if name in found}


def _of_module(function: Any) -> Arrays:
    """The parameters of a module of PyTorch, where none are given."""
    if not hasattr(function, "named_parameters"):
        raise UsageError(f"{WHERE}: params is missing: a dict of names and arrays")
    from diffprog.gradients import torch_side

    return torch_side.params_of(function)


def _check_options(
    functions: dict[str, Any], by_hand: Any, precision: str, tolerance: float | None, operators: Sequence[str],
    engines: Mapping[str, str] | None, optional: Sequence[str], limit: float,
) -> None:  # fmt: skip
    if isinstance(operators, str) or isinstance(optional, str):
        raise UsageError(f"{WHERE}: operators and optional are lists of names, not one")
    _one_of("precision", [precision], PRECISIONS)
    _one_of("operator", operators, OPERATORS)
    _one_of("backend", optional, BACKENDS)
    if not operators:
        raise UsageError(f"{WHERE}: operators is empty; there are: {', '.join(OPERATORS)}")
    for backend, engine in (engines or {}).items():
        _one_of("backend", [backend], BACKENDS)
        _one_of(f"engine of {backend}", [engine], known.ENGINES[backend])
    if tolerance is not None and not (isinstance(tolerance, int | float) and 0 < tolerance < 1):
        raise UsageError(f"{WHERE}: tolerance is {tolerance!r}; it is a relative error between 0 and 1")
    if not (isinstance(limit, int | float) and limit > 0 and math.isfinite(limit)):
        raise UsageError(f"{WHERE}: time_limit is {limit!r}; it is a number of seconds")
    if by_hand is not None and ("numpy" not in functions or not callable(by_hand)):
        raise UsageError(f"{WHERE}: numpy_gradient is the gradient of the function numpy, and a function")
    if by_hand is None and list(functions) == ["numpy"]:
        raise UsageError(f"{WHERE}: NumPy differentiates nothing: give numpy_gradient, or another function besides")


def _one_of(kind: str, asked: Sequence[Any], there: Sequence[str]) -> None:
    for name in asked:
        if name not in there:
            told = f"{WHERE}: there is no {kind} {name!r}; there are: {', '.join(there)}"
            raise UsageError(told + nearest(str(name), there))
