"""Planted errors: answers that are wrong in a known way, for the checker to catch.

``IN_ANSWER`` spoils a right answer; ``IN_CODE`` spoils the reference's source, so that the wrong answer is one that a
real mistake makes. Each entry says for what it can be planted: a gradient of one component has nothing to swap.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from diffprog import tasks
from diffprog.agree import errors, verdict
from diffprog.agree import yardstick as yardsticks
from diffprog.agree.verdict import Yardstick
from diffprog.declaration import Task
from diffprog.records.cells import Memory, Seconds
from diffprog.records.protocol import Result
from diffprog.run import files
from diffprog.run.plan import by_hand
from diffprog.spec import Array, Arrays, Case, Functions


@dataclass(frozen=True)
class Answer:
    """A case with its right answer by a method and operator of the reference; ``gradient`` is the operator's."""

    case: Case
    task: Task
    config: Any
    method: str
    operator: str
    inputs: Arrays
    theta: Array
    data: Arrays
    value: Array
    gradient: Array
    outputs: Arrays
    work: dict[str, int]

    @property
    def arrays(self) -> Arrays:
        """What a worker would return."""
        return {"value": self.value, "value_alone": self.value, self.operator: self.gradient} | self.outputs

    def by(self, functions: Functions, theta: Array | None = None, **data: Array) -> Arrays:
        """What other functions make of the case, or these of other inputs."""
        with np.errstate(all="ignore"):  # wrong code may well divide by zero
            found = _call(functions, self.operator, self.theta if theta is None else theta, self.data | data, self)
        return {"value": np.asarray(found[0]), self.operator: np.asarray(found[1])}


def _call(functions: Functions, operator: str, theta: Array, data: Arrays, right: Answer | Arrays) -> tuple[Any, Any]:
    inputs = right.inputs if isinstance(right, Answer) else right
    direction = [inputs["directions"][0].astype(theta.dtype)] if operator in ("jvp", "hvp") else []
    found: tuple[Any, Any] = getattr(functions, operator)(theta, data, *direction)
    return found


def answer(case: Case, precision: str = "float64", method: str = "", operator: str = "gradient") -> Answer:
    """The right answer, in float64 or float32, by the reference's method unless another is named."""
    task = tasks.get(case.task)
    config = task.configure(case.variant, case.size)
    method = method or task.reference_method(case.variant)
    functions = tasks.functions(case.task, "numpy", config, method)
    inputs = task.draw(config, case.seed)
    inputs["directions"] = files.directions(inputs["params"].size, case)
    data = {name: x.astype(precision) if x.dtype.kind == "f" else x for name, x in inputs.items()}
    theta = data.pop("params")
    del data["directions"]
    value, derivative = _call(functions, operator, theta, data, inputs)
    outputs, work = functions.outputs(theta, data), task.work(config)
    value, derivative = np.asarray(value), np.asarray(derivative)
    return Answer(case, task, config, method, operator, inputs, theta, data, value, derivative, outputs, work)


@cache
def yardstick(case: Case, operator: str = "gradient", method: str = "", *, single: bool = False) -> Yardstick:
    """What the cells of a case are judged by, as a run makes it; ``single``: with the reference's float32 errors."""
    right = answer(case, operator=operator)
    scale = yardsticks.norm(yardstick(case)) if operator == "jvp" else None
    key = by_hand(case, operator).key
    made = yardsticks.of_reference(case, key, operator, right.arrays, lambda: right.inputs, scale)
    if single:
        own = answer(case, "float32", operator=operator)
        error = errors.relative(own.gradient.astype(np.float64), right.gradient, scale)
        off = {name: errors.of_output(own.outputs[name], x) for name, x in right.outputs.items()}
        made = yardsticks.with_float32(made, error, errors.of_value(float(own.value), made.value), off)
    if method in right.task.approximating and right.task.approximation is not None:
        approximation = right.task.approximation(right.config, method, right.inputs)
        made = yardsticks.of_method(made, case, method, approximation, lambda: right.inputs)
    return made


def judged(right: Answer, arrays: Arrays, precision: str = "float64", backend: str = "torch") -> tuple[str, str]:
    """The checker's outcome and reason for arrays of a case, with the work done that was due."""
    cell = tasks.cell(right.case, backend, right.method, right.operator, precision, "cpu")
    by = yardstick(right.case, right.operator, right.method, single=precision != "float64")
    result = Result(float(right.value), right.work, Seconds(), Memory())
    outcome, reason, _ = verdict.judge(right.task, cell, right.config, arrays, result, by)
    assert (outcome == "disagrees") == bool(reason)
    return outcome, reason


def _component(right: Answer, index: int, change: Callable[[float], float]) -> Arrays:
    planted = right.gradient.copy()
    planted[index] = change(planted[index])
    return {"gradient": planted}


def _ranked(right: Answer) -> list[int]:
    """Components from the smallest that is not lost in the others' rounding to the largest."""
    size = np.abs(right.gradient)
    order = np.argsort(size)
    return [int(i) for i in order if size[i] > 1e-6 * np.linalg.norm(right.gradient)]


def _without_block(right: Answer) -> Iterator[Arrays]:
    """Each named block in turn: its cotangent was never added."""
    start = 0
    for block in right.task.layout(right.config).blocks:
        planted = right.gradient.copy()
        planted[start : start + block.size] = 0
        start += block.size
        yield {"gradient": planted}


def _transposed(right: Answer) -> Iterator[Arrays]:
    """Each block of two dimensions or more, written out in the other order."""
    start = 0
    for block in right.task.layout(right.config).blocks:
        part = right.gradient[start : start + block.size].reshape(block.shape)
        planted = right.gradient.copy()
        planted[start : start + block.size] = part.T.ravel()
        start += block.size
        if not np.allclose(planted, right.gradient, rtol=1e-5, atol=0):  # a symmetric block is its own transposed
            yield {"gradient": planted}


def _swapped(right: Answer) -> Iterator[Arrays]:
    """Neighbours at the front, the two ends, and everything backwards."""
    count = len(right.gradient)
    for order in ([1, 0, *range(2, count)], [count - 1, *range(1, count - 1), 0], range(count)[::-1]):
        planted = right.gradient[list(order)] if count > 1 else right.gradient
        if not np.allclose(planted, right.gradient, rtol=1e-5, atol=0):
            yield {"gradient": planted}


def _stale(right: Answer) -> Iterator[Arrays]:
    """The gradient, or the whole answer, of the parameters before a small step."""
    functions = _reference(right)
    old = right.by(functions, right.theta * right.theta.dtype.type(1 + 1e-5))
    yield {"gradient": old["gradient"]}
    yield old


def _fewer(right: Answer) -> Iterator[Arrays]:
    """One layer, step, iteration or bond too few."""
    match right.case.task:
        case "flow":
            steps = right.config.steps
            config = dataclasses.replace(right.config, steps=steps - 1, time=right.config.time * (steps - 1) / steps)
            yield right.by(_reference(right, config))
        case "trg":
            functions = _reference(right, dataclasses.replace(right.config, iterations=right.config.iterations - 1))
            weights = np.delete(right.data["weights"], -2)
            if right.config.side == 1:
                yield right.by(functions, weights=weights)
        case "eigensolver":
            theta = right.theta.copy()
            theta[len(theta) // 2 - 1] = 0
            yield right.by(_reference(right), theta)
        case "qcbm":  # the last layer of rotations does nothing: its angles are zero
            theta, angles = right.theta.copy(), (3 * right.config.depth + 1) * right.config.qubits
            theta[angles - 2 * right.config.qubits : angles] = 0
            yield right.by(_reference(right), theta)
        case "classifier":  # the last layer of rotations does nothing: its angles are zero
            theta = right.theta.copy()
            theta[-right.task.layout(right.config).blocks[-1].size :] = 0
            yield right.by(_reference(right), theta)
        case "vqe":  # the last mixer or layer of rotations does nothing
            theta = right.theta.copy()
            theta[-1 if right.config.alternating else -2 * right.config.qubits :] = 0
            yield right.by(_reference(right), theta)


def _reference(right: Answer, config: Any = None) -> Functions:
    method = right.task.reference_method(right.case.variant)
    return tasks.functions(right.case.task, "numpy", config or right.config, method)


def _at(indices: Callable[[list[int]], list[int]], change: Callable[[float], float]) -> Plant:
    def plant(right: Answer) -> Iterator[Arrays]:
        for index in dict.fromkeys(indices(_ranked(right))):
            yield _component(right, index, change)

    return plant


def _each(*spoil: Callable[[Array], Array]) -> Plant:
    def plant(right: Answer) -> Iterator[Arrays]:
        for change in spoil:
            yield {"gradient": change(right.gradient)}

    return plant


Plant = Callable[[Answer], Iterator[Arrays]]
"""Wrong answers made from a right one: arrays that take the place of the right ones."""

_EXTREMES: Callable[[list[int]], list[int]] = lambda ranked: [ranked[0], ranked[len(ranked) // 2], ranked[-1]]  # noqa: E731

IN_ANSWER: dict[str, Plant] = {
    "wrong sign": _each(lambda g: -g),
    "wrong sign of one component": _at(_EXTREMES, lambda x: -x),
    "factor of two": _each(lambda g: 2 * g, lambda g: g / 2),
    "dropped component": _at(_EXTREMES, lambda x: 0.0),
    "dropped block": _without_block,
    "transposed block": _transposed,
    "relative error of 1e-6 in one component": _at(_EXTREMES, lambda x: x * (1 + 1e-6)),
    "swapped parameters": _swapped,
    "one layer or step too few": _fewer,
    "NaN": _at(_EXTREMES, lambda x: np.nan),
    "Inf": _at(_EXTREMES, lambda x: -np.inf),
    "stale cached result": _stale,
    "wrong dtype": _each(
        *(lambda g, t=t: g.astype(t) for t in ("float32", "float16", "complex128", "int64", "object"))
    ),
    "silent float32": _each(lambda g: g.astype(np.float32).astype(np.float64)),
    "wrong size": _each(lambda g: g[:-1], lambda g: np.append(g, 0.0), lambda g: g[:0]),
    "wrong shape": _each(lambda g: g[:, None], lambda g: g[None, :]),
}


def _everywhere(spoil: Callable[[Array], Array]) -> Plant:
    """In the derivative, whatever the operator and method."""

    def plant(right: Answer) -> Iterator[Arrays]:
        wrong = spoil(right.gradient)
        if wrong.dtype != right.gradient.dtype or not np.array_equal(wrong, right.gradient, equal_nan=True):
            yield {right.operator: wrong}

    return plant


def _single(x: Array) -> Array:
    return np.asarray(x).astype(np.float32).astype(np.float64)


def _half_single(right: Answer) -> Iterator[Arrays]:
    """The larger half of the components was rounded to float32, and every block of θ alone."""
    if right.gradient.ndim == 0:
        return
    planted = right.gradient.copy()
    largest = np.argsort(np.abs(planted))[len(planted) // 2 :]
    planted[largest] = _single(planted[largest])
    yield {right.operator: planted}
    start = 0
    for block in right.task.layout(right.config).blocks:
        part = slice(start, start + block.size)
        start += block.size
        planted = right.gradient.copy()
        if block.size > 1 and np.abs(planted[part]).max() > 1e-3 * np.linalg.norm(planted):
            planted[part] = _single(planted[part])
            yield {right.operator: planted}


def _least(right: Answer) -> float:
    """The smallest relative error that must be caught: an adaptive solver's own error hides what is below it."""
    return 1e-5 if right.method in right.task.adaptive else 3e-9


def _values(right: Answer) -> Iterator[Arrays]:
    """What is timed as the value, or what came with the derivative, is no value."""
    old, least = _reference(right).value(right.theta * (1 + 1e-4), right.data), _least(right)
    for wrong in (np.nan, np.inf, 0.0, -right.value, 2 * right.value, right.value + 3 * least, old):
        if not np.isclose(float(wrong), float(right.value), rtol=least, atol=least):
            yield {"value_alone": np.asarray(wrong)}
            yield {"value": np.asarray(wrong)}
    if abs(float(right.value)) > 1e-3:
        yield {"value_alone": _single(right.value)}
        yield {"value": _single(right.value)}
    yield {"value_alone": np.full(2, right.value)}
    yield {"value_alone": np.asarray("1.0")}


def _outputs(right: Answer) -> Iterator[Arrays]:
    """Outputs reversed, of another θ, of another precision, shape or name, or no numbers at all."""
    functions = tasks.functions(right.case.task, "numpy", right.config, right.method)
    other, least = functions.outputs(right.theta * (1 + 1e-4), right.data), _least(right)
    for name, x in right.outputs.items():
        if name in right.task.counts:
            continue
        wrong: list[Any] = [
            x.astype(np.float16),
            x.astype(np.float32),
            x * np.nan,
            x + 1j,
            x[None],
            x + 1e-3,
            _single(x),
        ]
        wrong += [x[::-1], x[:-1], x.ravel()[:, None], np.zeros_like(x)] if x.ndim else [-x]
        for planted in [*wrong, other[name]]:
            unlike = planted.dtype != x.dtype or planted.shape != x.shape
            if unlike or not np.linalg.norm(planted - x) <= least * max(1.0, float(np.linalg.norm(x))):
                yield {name: planted}
    yield {"invented": np.zeros(3)}
    yield {"output:gradient": np.zeros_like(right.gradient)}


def _after(right: Answer) -> Iterator[Arrays]:
    """What is timed gives another answer after sampling than before."""
    value, derivative, least = right.value, right.gradient, _least(right)
    for name in ("value", "by_hand_value", "gradient:value"):
        for wrong in (value * np.nan, value * 1.0 + 3 * least * max(1.0, abs(float(value))), np.zeros(3)):
            yield {f"after:{name}": np.asarray(wrong)}
    for name in ("gradient", "by_hand_gradient"):
        scale = max(float(np.linalg.norm(derivative)), 1e-3)
        spoilt: list[Array] = [
            derivative * np.nan,
            derivative + 1e-3 * scale,
            np.zeros(()),
            derivative.astype(np.float32),
        ]
        for wrong in spoilt:
            if wrong.shape != derivative.shape or wrong.dtype != derivative.dtype or not np.allclose(wrong, derivative):
                yield {f"after:{name}": np.asarray(wrong)}


EVERYWHERE: dict[str, Plant] = {
    "wrong sign": _everywhere(lambda g: -g),
    "factor of two": _everywhere(lambda g: 2 * g),
    "factor of 1.0001": _everywhere(lambda g: g * 1.0001),
    "NaN": _everywhere(lambda g: g * np.nan),
    "wrong dtype": _everywhere(lambda g: g.astype(np.float32)),
    "wrong shape": _everywhere(lambda g: g[None]),
    "silent float32": _everywhere(_single),
    "silent float32 in part": _half_single,
    "silent float16": _everywhere(lambda g: g.astype(np.float16).astype(np.float64)),
    "value that is none": _values,
    "output that is none": _outputs,
    "another answer after sampling": _after,
}
"""For every method and operator, however much it may be off."""

IN_CODE: dict[str, dict[str, list[tuple[str, str]]]] = {
    "flow": {
        "dropped term": [
            ("+ curvature * self.norm2\n", "\n"),
            ("self.s_bar[np.diag_indices_from(self.s_bar)] += divergence_bar.sum()", "pass"),
            ("+ np.outer(divergence_bar, self.a * self.norm2) * (1 - 2 * s)", ""),
            ("- 2 * np.outer(divergence_bar, self.a * self.norm2) * t", ""),
        ],
        "wrong sign": [
            ("x_bar: Array = z_bar @ self.w", "x_bar: Array = -z_bar @ self.w"),
            ("h / 6 * x_bar, g)", "h / 6 * x_bar, -g)"),
        ],
        "transposed factor": [
            ("self.w_bar += (s * self.a).T @ v_bar", "self.w_bar += ((s * self.a).T @ v_bar)[::-1]"),
            ("self.w_bar += (t * self.a).T @ v_bar", "self.w_bar += ((t * self.a).T @ v_bar)[::-1]"),
        ],
        "wrong stage of the step": [("h / 3 * x_bar + h / 2 * x3", "h / 3 * x_bar + h * x3")],
    },
    "eigensolver": {
        "dropped term": [
            ("vectors[:, 1:].T @ b / (energies[1:] - energies[0])", "vectors[:, 1:].T @ b / energies[1:]"),
            (
                "for E_bar, v in zip(energies_bar, found.vectors[:m], strict=True)",
                "for E_bar, v in zip(energies_bar[1:], found.vectors[1:m], strict=True)",
            ),
            ("project(self.apply(project(x))) - energy * x", "project(self.apply(project(x))) - 1.01 * energy * x"),
        ],
        "wrong sign": [
            ("theta_bar = -chain.vjp", "theta_bar = chain.vjp"),
            ("E_bar * chain.vjp", "-E_bar * chain.vjp"),
        ],
        "transposed factor": [("vectors[:, :count].T, 0)", "vectors[:count], 0)")],
    },
    "qcbm": {
        "missing conjugate": [
            ("rows = [stay * plus.conj(),", "rows = [stay * plus,"),
            ("[matrix.conj().swapaxes(-1, -2) for", "[matrix.swapaxes(-1, -2) for"),
            ("@ cotangent.reshape(-1, size).conj()", "@ cotangent.reshape(-1, size)"),
        ],
        "dropped term": [
            ('q = p - data["target"]', "q = p"),
            ("r = target * expit(-s) - p * expit(s)", "r = -p * expit(s)"),
            ("(1 - hidden**2)\n", "(1 + 0 * hidden)\n"),
        ],
        "wrong sign": [
            ("hop = np.cos(b / 2), -1j * np.sin(b / 2)", "hop = np.cos(b / 2), 1j * np.sin(b / 2)"),
            ("    q = log_expit(-s)\n", "    q = log_expit(s)\n"),
            ("back(q * psi), weights_bar", "back(q * psi), -weights_bar"),
        ],
        "wrong factor": [("back(q * psi), weights_bar", "back(2 * q * psi), weights_bar")],
        "transposed factor": [("[matrix.conj().swapaxes(-1, -2) for", "[matrix.conj() for")],
        "one layer too few": [
            ("for layer in range(depth, -1, -1):", "moments[0] = 0\n    for layer in range(depth, 0, -1):")
        ],
    },
    "trg": {
        "dropped term": [
            (
                "inner = together + transpose(together) + apart - transpose(apart)",
                "inner = together + transpose(together)",
            ),
            (
                "    return np.asarray((uk @ inner + u[..., k:] @ below) @ transpose(vk)",
                "    return np.asarray((uk @ inner) @ transpose(vk)",
            ),
        ],
        "wrong sign": [("+ apart - transpose(apart)", "- apart + transpose(apart)")],
        "broadened too much": [
            ("s.dtype.type(ETA)", "s.dtype.type(1e-9)"),
            ("s.dtype.type(ETA)", "s.dtype.type(1e-10)"),
        ],
        "transposed factor": [("b_bar = b_bar.transpose(0, 3, 1, 2, 4)", "b_bar = b_bar.transpose(0, 1, 3, 2, 4)")],
    },
    "classifier": {
        "missing conjugate": [
            ("rows = [stay * plus.conj(),", "rows = [stay * plus,"),
            ("[matrix.conj().swapaxes(-1, -2) for", "[matrix.swapaxes(-1, -2) for"),
            ("@ cotangent.reshape(-1, size).conj()", "@ cotangent.reshape(-1, size)"),
        ],
        "the other label": [
            ("return np.stack([labels, 1 - labels], axis=-1)", "return np.stack([1 - labels, labels], axis=-1)")
        ],
        "the wrong qubit": [
            (
                "return states.reshape(*states.shape[:-1], 2, -1)",
                "return np.moveaxis(states.reshape(*states.shape[:-1], -1, 2), -1, -2)",
            )
        ],
        "dropped term": [
            ("rotate_alike(matrices, encode(own, states))", "rotate_alike(matrices, states)"),
            ("rotate(undo, rotate_alike(adjoints, states))", "rotate_alike(adjoints, states)"),
            (
                "return np.asarray(scale[:, :, None] * halves(states))",
                "scale[0] = 0\n    return np.asarray(scale[:, :, None] * halves(states))",
            ),
        ],
        "in the wrong order": [
            ("rotate_alike(matrices, encode(own, states))", "encode(own, rotate_alike(matrices, states))"),
            ("rotate(undo, rotate_alike(adjoints, states))", "rotate_alike(adjoints, rotate(undo, states))"),
        ],
        "wrong sign": [("scale = -weights(labels)", "scale = weights(labels)")],
        "a sum in the place of a mean": [("(likely * len(labels))", "likely")],
        "the same for every sample": [
            ("own = encoding(config, samples)", "own = encoding(config, np.broadcast_to(samples[0], samples.shape))")
        ],
        "transposed factor": [("[matrix.conj().swapaxes(-1, -2) for", "[matrix.conj() for")],
    },
    "vqe": {
        "missing conjugate": [
            ("[matrix.conj().swapaxes(-1, -2) for", "[matrix.swapaxes(-1, -2) for"),
            (
                "slopes[0, layer] = 2 * np.vdot(bar, diagonal * psi).imag",
                "slopes[0, layer] = 2 * (bar @ (diagonal * psi)).imag",
            ),
        ],
        "dropped term": [
            ('return data["diagonal"] * state - flipped(config.qubits, state)', 'return data["diagonal"] * state'),
            ('total = -data["couplings"].sum() * state', "total = np.zeros_like(state)"),
            (
                'for bond, coupling in zip(data["bonds"].tolist(), data["couplings"], strict=True):',
                'for bond, coupling in zip(data["bonds"].tolist()[1:], data["couplings"][1:], strict=True):',
            ),
        ],
        "wrong sign": [
            ("phased(-gamma[layer] * diagonal, bar)", "phased(gamma[layer] * diagonal, bar)"),
            ("table[..., 1] = 2 * beta", "table[..., 1] = -2 * beta"),
            ('return -data["diagonal"] * state', 'return data["diagonal"] * state'),
        ],
        "factor of two": [
            ("table[..., 1] = 2 * beta", "table[..., 1] = beta"),
            (
                "slopes[1, layer] = 2 * np.vdot(bar, flipped(qubits, psi)).imag",
                "slopes[1, layer] = np.vdot(bar, flipped(qubits, psi)).imag",
            ),
        ],
        "one gate of those that share a parameter": [
            (
                "slopes[1, layer] = 2 * np.vdot(bar, flipped(qubits, psi)).imag",
                "slopes[1, layer] = 2 * np.vdot(bar, flipped(qubits, psi)).imag / qubits",
            ),
        ],
        "transposed factor": [("[matrix.conj().swapaxes(-1, -2) for", "[matrix.conj() for")],
    },
}
"""By task and kind of mistake: a piece of the reference's source, and what is written in its place."""


MODULES = {
    "flow": ("tasks.flow.field", "tasks.flow.runge_kutta", "tasks.flow.reference"),
    "eigensolver": ("tasks.eigensolver.reference",),
    "qcbm": (
        "circuits.states",
        "tasks.qcbm.machine",
        "tasks.qcbm.discriminator",
        "tasks.qcbm.adversarial",
        "tasks.qcbm.reference",
    ),
    "trg": ("tasks.trg.network", "tasks.trg.reference"),
    "classifier": (
        "circuits.states",
        "tasks.classifier.samples",
        "tasks.classifier.second",
        "tasks.classifier.reference",
    ),
    "vqe": (
        "circuits.states",
        "tasks.vqe.hamiltonian",
        "tasks.vqe.alternating",
        "tasks.vqe.reference_alternating",
        "tasks.vqe.reference_rotations",
        "tasks.vqe.reference",
    ),
}
"""What a reference is made of, each after what it imports."""


def mutant(task: str, old: str, new: str) -> ModuleType:
    """The reference module of a task with one piece of its source, or of what it is made of, replaced.

    Raises:
        ValueError: if no source has such a piece.
    """
    names = [f"diffprog.{module}" for module in MODULES[task]]
    origins = [spec.origin for name in names if (spec := find_spec(name)) is not None and spec.origin is not None]
    sources = [Path(origin).read_text(encoding="utf-8") for origin in origins]
    if not any(old in source for source in sources):
        raise ValueError(f"none of {', '.join(origins)} has {old!r} any more: plant this error elsewhere")
    for name in names:  # whoever was imported before: only what a package has can be replaced in it
        import_module(name)
    with mock.patch.dict(sys.modules), ExitStack() as patches:  # each finds the mutants of those before it
        for name, origin, source in zip(names, origins, sources, strict=True):
            module = ModuleType(name)
            module.__dict__["__file__"] = origin
            sys.modules[name] = module
            package, _, leaf = name.rpartition(".")
            patches.enter_context(mock.patch.object(import_module(package), leaf, module))
            exec(compile(source.replace(old, new), origin, "exec"), module.__dict__)
    return module
