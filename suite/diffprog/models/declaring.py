"""From a folder's ``task.py`` to a `Task`: what the user left out has a default here."""

from __future__ import annotations

import ast
import contextlib
import difflib
import inspect
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from diffprog.declaration import Fit, Task
from diffprog.engines import NO_CIRCUIT, NO_EXPERT
from diffprog.errors import UsageError, nearest
from diffprog.models import arrays, loading
from diffprog.spec import SIZES, Array, Arrays, Block, Layout, Limit

VARIANT = "model"
"""The one variant of a task that declares none."""
METHOD = "engine"
"""The one method: whatever the engine does with the loss."""
TOLERANCE = 1e-10
"""Relative L2, of a float64 gradient. What rounding does to the very model is allowed besides (`agree.rounding`)."""
SETTINGS = ("TITLE", "VARIANTS", "SIZES", "TOLERANCE", "FIT", "BOUND")
"""What ``task.py`` may declare besides `draw`, each with a default."""
FRAMEWORKS = ("torch", "jax", "juliacall")
"""No two of them are ever in one process, and every worker reads ``task.py``."""
STEPS, RATE = 500, 0.01
COPIES = 8
"""So many times inputs and parameters are reckoned to be in memory at the peak of a gradient, at least."""


@dataclass(frozen=True)
class ModelConfig:
    """One problem of a user's task."""

    variant: str
    size: str
    folder: str
    """Where the model lies."""
    layout: str
    """JSON: names and shapes of the parameters."""
    data: str
    """JSON: name, dtype and shape of each array of data."""

    @property
    def shapes(self) -> arrays.Shapes:
        """Names and shapes of the parameters, in their order."""
        return tuple((name, tuple(shape)) for name, shape in json.loads(self.layout))

    @property
    def parameters(self) -> int:
        """P."""
        return sum(math.prod(shape) for _, shape in self.shapes)

    @property
    def numbers(self) -> int:
        """Of parameters and data together."""
        return self.parameters + sum(int(math.prod(shape)) for _, _, shape in json.loads(self.data))


def task(folder: Path) -> Task:
    """The declaration of the task in a folder.

    Raises:
        UsageError: saying what is wrong with it, with file and line.
    """
    loading.check(folder)
    name = loading.name_of(folder)
    where = folder / loading.DECLARATION
    before = {*sys.modules}
    try:
        made = loading.module(folder, loading.DECLARATION)
        draw = loading.function(made, "draw", folder, loading.DECLARATION, "seed")
    except loading.Fault as fault:
        raise UsageError(str(fault)) from fault
    for framework in FRAMEWORKS:
        if framework in sys.modules and framework not in before:
            raise UsageError(
                f"{where} imports {framework}, which would then be in the process of every backend: import it in draw, "
                "which is called in a process of its own"
            )
    _known_settings(made, where)
    variants, sizes = _names(made, "VARIANTS", (VARIANT,), where), _names(made, "SIZES", SIZES[:1], where)
    for size in sizes:
        if size not in SIZES:
            raise UsageError(f"{where}: SIZES has {size!r}; sizes are called {', '.join(SIZES)}" + nearest(size, SIZES))
    takes = _arguments(draw, where, variants, sizes)
    drawn = partial(_draw, draw, takes, folder, where)
    present = loading.backends(folder)
    tolerance = _number(made, "TOLERANCE", TOLERANCE, where)
    if not 0 < tolerance < 1:
        raise UsageError(f"{where}: TOLERANCE is {tolerance:g}; it is a relative error between 0 and 1")

    @cache
    def configure(variant: str, size: str) -> ModelConfig:
        if variant not in variants or size not in sizes:
            there = f"{', '.join(variants)} of {', '.join(sizes)}"
            raise UsageError(f"task {name} has no variant {variant!r} of size {size!r}; it has: {there}")
        params, data = drawn(variant, size, 0)
        return ModelConfig(
            variant,
            size,
            str(folder.resolve()),
            json.dumps([(key, array.shape) for key, array in params.items()]),
            json.dumps([(key, str(array.dtype), array.shape) for key, array in data.items()]),
        )

    def inputs(config: ModelConfig, seed: int) -> Arrays:
        params, data = drawn(config.variant, config.size, seed)
        for key, shape in config.shapes:
            if key not in params or params[key].shape != shape:
                raise UsageError(
                    f"{where}: draw gives other parameters for seed {seed} than for seed 0: "
                    f"{key!r} must be of shape {shape}"
                )
        if more := set(params) - {key for key, _ in config.shapes}:
            raise UsageError(f"{where}: draw gives a parameter {min(more)!r} for seed {seed} that seed 0 has not")
        in_order = {key: params[key] for key, _ in config.shapes}  # a dict may come in another order
        return {"params": arrays.flat(in_order), **{key: array.copy() for key, array in data.items()}}

    bound = getattr(made, "BOUND", None)
    if bound is not None and not isinstance(bound, int | float):
        raise UsageError(f"{where}: BOUND is a {type(bound).__name__}; it is a number, the least that the loss can be")
    if bound is not None and not math.isfinite(bound):
        raise UsageError(f"{where}: BOUND is {bound}; it is a finite number, the least that the loss can be")
    by_hand = "numpy" in present and has_gradient(folder)
    if present == ("numpy",) and not by_hand:
        others = ", ".join(file for backend, file in loading.FILES.items() if backend != "numpy")
        raise UsageError(
            f"{folder} has no gradient: NumPy differentiates nothing; write loss(params, data) into one of {others}, "
            f"or gradient(params, data) into {loading.FILES['numpy']}"
        )
    return Task(
        name=name,
        title=str(getattr(made, "TITLE", "")) or (inspect.getdoc(made) or name).splitlines()[0],
        variants=variants,
        methods=(METHOD,),
        configure=configure,
        draw=inputs,
        layout=lambda config: Layout(tuple(Block(key, shape) for key, shape in config.shapes)),
        work=lambda config: {"parameters": config.parameters},
        extent=lambda config: ("parameters and data", float(config.numbers)),
        memory=lambda config, method, itemsize: COPIES * itemsize * config.numbers,
        tolerance=tolerance,
        bound=lambda config: None if bound is None else float(bound),
        fit=_fit(made, where, variants, sizes, inputs),
        backends=present,
        sizes=sizes,
        limits=(NO_EXPERT, NO_CIRCUIT, *(_BY_HAND if by_hand else _BY_VALUE if "numpy" in present else ())),
        by_hand=False,
        folder=folder.resolve(),
    )


NO_GRADIENT = "on_numpy.py has no gradient(params, data): NumPy differentiates nothing, and takes part by its value"
_BY_HAND = (
    Limit("numpy", "hand", ("jvp", "hvp"), "NumPy differentiates nothing: only the gradient is written by hand"),
)
_BY_VALUE = (Limit("numpy", "hand", ("gradient", "jvp", "hvp"), NO_GRADIENT),)


def has_gradient(folder: Path) -> bool:
    """Whether on_numpy.py has a gradient by hand; told from its text, since importing it is a worker's affair."""
    text = (folder / loading.FILES["numpy"]).read_text(encoding="utf-8-sig", errors="replace")
    try:
        made = ast.parse(text).body
    except (SyntaxError, ValueError):  # told where it is imported
        return any(line.startswith("def gradient(") for line in text.splitlines())
    return any("gradient" in _bound(statement) for statement in made)


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a statement of a file defines or imports."""
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.ImportFrom(names=names) | ast.Import(names=names):
            return {alias.asname or alias.name for alias in names}
        case ast.Assign(targets=targets):
            return {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
    return set()


def _known_settings(made: ModuleType, where: Path) -> None:
    for name in vars(made):
        like = (
            difflib.get_close_matches(name, SETTINGS, 1, cutoff=0.8) if name.isupper() and name not in SETTINGS else []
        )
        if like:
            raise UsageError(
                f"{where}: {name} is no setting of a task; did you mean {like[0]}? If it is a constant of your own, "
                f"give it another name; the settings are {', '.join(SETTINGS)}"
            )


def _names(made: ModuleType, setting: str, default: tuple[str, ...], where: Path) -> tuple[str, ...]:
    found = getattr(made, setting, default)
    good = isinstance(found, list | tuple) and found and all(isinstance(one, str) and one for one in found)
    if not good or len(set(found)) < len(found):
        raise UsageError(f"{where}: {setting} must be a list of different names, not {found!r}")
    for one in found:
        if not one.replace("-", "_").isidentifier():
            raise UsageError(f"{where}: {one!r} in {setting} is no name: letters, digits, - and _ make one")
    return tuple(found)


def _number(made: ModuleType, setting: str, default: float, where: Path) -> float:
    found = getattr(made, setting, default)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise UsageError(f"{where}: {setting} must be a number, not {found!r}")
    return float(found)


def _arguments(draw: Callable[..., Any], where: Path, variants: Any, sizes: Any) -> tuple[str, ...]:
    """Which of seed, variant and size ``draw`` takes, by their names."""
    found = tuple(inspect.signature(draw).parameters)
    for name in found:
        if name not in ("seed", "variant", "size"):
            raise UsageError(f"{where}: draw takes {name!r}; it may take seed, variant and size")
    if "seed" not in found:
        raise UsageError(f"{where}: draw must take a seed: `def draw(seed):`")
    for name, there in (("variant", variants), ("size", sizes)):
        if len(there) > 1 and name not in found:
            raise UsageError(f"{where}: there are {len(there)} {name}s, so draw must take {name!r}")
    return found


def _draw(
    draw: Callable[..., Any], takes: tuple[str, ...], folder: Path, where: Path, variant: str, size: str, seed: int
) -> tuple[Arrays, Arrays]:
    """The checked parameters and data of one seed, drawn twice: the second must be the same bit for bit."""
    given = {"seed": seed, "variant": variant, "size": size}
    answers = []
    for _ in range(2):
        try:
            with loading.at_home(folder):
                found = draw(**{name: given[name] for name in takes})
        except (Exception, SystemExit) as error:
            raise UsageError(loading.told(error, folder)) from error
        if not (isinstance(found, tuple) and len(found) == 2):
            raise UsageError(f"{where}: draw must return two dicts, params and data: `return params, data`")
        answers.append((arrays.params(found[0], f"{where}: draw"), arrays.data(found[1], f"{where}: draw")))
    (params, data), (again, data_again) = answers
    for name, one, other in _pairs(params | data, again | data_again):
        if one is None or other is None or one.shape != other.shape or not np.array_equal(one, other):
            raise UsageError(
                f"{where}: draw gives another {name!r} for the same seed: draw all from np.random.default_rng(seed)"
            )
    if both := set(params) & set(data):
        raise UsageError(
            f"{where}: {sorted(both)[0]!r} is among the params and the data: give one of them another name"
        )
    return params, data


def _pairs(one: Mapping[str, Array], other: Mapping[str, Array]) -> list[tuple[str, Array | None, Array | None]]:
    return [(name, one.get(name), other.get(name)) for name in dict.fromkeys([*one, *other])]


def _fit(
    made: ModuleType, where: Path, variants: tuple[str, ...], sizes: tuple[str, ...], draw: Callable[[Any, int], Arrays]
) -> Fit:
    """How the model is fitted: FIT = {"steps": …, "rate": …}."""
    found = getattr(made, "FIT", {})
    if not isinstance(found, Mapping) or set(found) - {"steps", "rate"}:
        raise UsageError(f'{where}: FIT may hold "steps" and "rate", not {found!r}')
    steps, rate = found.get("steps", STEPS), found.get("rate", RATE)
    with contextlib.suppress(TypeError):
        if int(steps) == steps and steps > 0 and float(rate) > 0:
            return Fit(variants=variants, size=sizes[0], steps=int(steps), rate=float(rate), draw=draw)
    raise UsageError(f"{where}: FIT must have a number of steps and a positive rate, not {found!r}")
