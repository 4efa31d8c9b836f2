"""From what was asked for to the cells to run, in order, with what cannot fit refused before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product

import numpy as np

from diffprog import engines, tasks
from diffprog.declaration import Task
from diffprog.errors import UsageError, nearest
from diffprog.models.loading import FILES
from diffprog.run import free_memory
from diffprog.spec import BACKENDS, DEVICES, OPERATORS, PRECISIONS, SIZES, Case, Cell, dtype

FRAMEWORK_BYTES = 600 * 2**20
"""What a worker holds before it has done anything, roughly: an imported framework."""


@dataclass(frozen=True)
class Request:
    """What was asked for. None means all there is."""

    tasks: tuple[str, ...] | None = None
    variants: tuple[str, ...] | None = None
    sizes: tuple[str, ...] | None = None
    """None: tiny, or a task's smallest."""
    backends: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    operators: tuple[str, ...] = ("gradient",)
    engines: tuple[str, ...] = ()
    """Empty: the default of each backend, task and operator."""
    others: tuple[str, ...] = ()
    """Backends that are not the suite's, with a worker of their own."""
    precisions: tuple[str, ...] = ("float64",)
    devices: tuple[str, ...] = ("cpu",)
    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Group:
    """The cells that share one worker process."""

    task: str
    backend: str
    device: str
    precision: str
    cells: tuple[Cell, ...]

    @property
    def alone(self) -> bool:
        """Whether each cell gets a process of its own: JAX tells the peak of a GPU's memory for the whole process."""
        return (self.backend, self.device) == ("jax", "cuda")


def reference_cell(case: Case, operator: str = "gradient", precision: str = "float64") -> Cell | None:
    """The cell that the others of its case and operator are compared with; a value goes with the gradient.

    None for a task whose derivatives nobody wrote by hand: what leads there is seen when it has been measured.
    """
    return by_hand(case, operator, precision) if tasks.get(case.task).by_hand else None


def by_hand(case: Case, operator: str = "gradient", precision: str = "float64") -> Cell:
    """NumPy's cell by the reference's method."""
    operator = "gradient" if operator == "value" else operator
    return tasks.cell(case, "numpy", tasks.get(case.task).reference_method(case.variant), operator, precision, "cpu")


def needed_by(cell: Cell) -> list[Cell]:
    """The references that a cell is judged by, the case's own first."""
    precisions = ("float64", "float32") if dtype(cell.precision) == "float32" else ("float64",)
    first = reference_cell(cell.case)
    found = [first, *(reference_cell(cell.case, cell.operator, one) for one in precisions)]
    if first is None:  # any backend's may lead: at least the cell's own is there
        backend = _differentiating(tasks.get(cell.case.task), cell.backend)
        operators = {"gradient": None, cell.operator if cell.operator != "value" else "gradient": None}
        found = [
            tasks.cell(cell.case, backend, cell.method, operator, one) for operator in operators for one in precisions
        ]
    return [one for one in found if one is not None]


def _differentiating(task: Task, backend: str) -> str:
    """The backend itself if it has gradients of the task, or the first that has."""
    able = [one for one in task.backends if one != "numpy" or not value_alone(task)]
    return backend if backend in able or not able else able[0]


def value_alone(task: Task) -> bool:
    """Whether the task takes part on NumPy by its value."""
    return any((limit.backend, "gradient" in limit.operators) == ("numpy", True) for limit in task.limits)


def _engines(request: Request, backend: str, task: str, operator: str) -> list[str]:
    """The engines of a backend that were asked for; a value knows none, but for those that compute it otherwise."""
    usual = tasks.engine(backend, task, operator)
    if not request.engines:
        return [usual]
    known = engines.ENGINES.get(backend, (engines.OWN,))
    asked = [name for name in known if "all" in request.engines or name in request.engines]
    if operator != "value" or not asked:
        return asked
    return list(dict.fromkeys([usual, *(name for name in asked if name in engines.OF_VALUES)]))


def cells(request: Request, *, references: bool = True) -> list[Cell]:
    """The cells asked for and the NumPy references that they need, references first within each task.

    ``references``: whether those that nobody asked for are among them.

    Raises:
        UsageError: for an unknown name, or where nothing is left to do.
    """
    backends = (*BACKENDS, *(name for name in request.others if name not in BACKENDS))
    for kind, asked, known in (
        ("task", request.tasks, tasks.known()),
        ("size", request.sizes, SIZES),
        ("backend", request.backends, backends),
        ("operator", request.operators, OPERATORS),
        ("engine", request.engines, (*engines.ALL, "all")),
        ("precision", request.precisions, PRECISIONS),
        ("device", request.devices, DEVICES),
    ):
        check_names(kind, asked, known)
    chosen = [tasks.get(name) for name in request.tasks or tasks.NAMES]
    check_names("variant", request.variants, [v for task in chosen for v in task.variants])
    check_names("method", request.methods, [m for task in chosen for m in task.methods])
    found: dict[Cell, None] = {}
    for task in chosen:
        there = _backends(task, request, backends)
        variants = [v for v in task.variants if request.variants is None or v in request.variants]
        methods = [m for m in task.methods if request.methods is None or m in request.methods]
        wanted = [
            Cell(Case(task.name, variant, size, seed), backend, method, operator, precision, device, engine)
            for variant, size, seed, backend, device, precision, operator, method in product(
                variants,
                _sizes(task, request.sizes),
                request.seeds,
                there,
                request.devices,
                sorted(request.precisions, key=PRECISIONS.index),
                request.operators,
                methods,
            )
            for engine in _engines(request, backend, task.name, operator)
            if method == value_method(task, variant, methods)
            or (operator == "gradient" and engine == tasks.engine(backend, task.name, operator))
        ]
        wanted = [_by_value(cell) for cell in wanted]
        if references:
            found |= dict.fromkeys(reference for cell in wanted for reference in needed_by(cell))
        found |= dict.fromkeys(wanted)
    if not found:
        raise UsageError("nothing to run: the chosen tasks have none of the chosen variants and methods")
    return list(found)


def _sizes(task: Task, asked: Sequence[str] | None) -> Sequence[str]:
    """Those asked for that the task has."""
    if asked is None:
        return task.sizes[:1]
    check_names(f"size of task {task.name}", asked, task.sizes)
    return asked


def _backends(task: Task, request: Request, known: Sequence[str]) -> list[str]:
    """Those asked for that the task is written for; others' workers are their own affair."""
    for name in request.backends or ():
        if name not in task.backends and name not in request.others:
            file = f": there is no {FILES[name]} in {task.folder}" if task.folder else ""
            raise UsageError(f"task {task.name} is not written for {name}{file}")
    return [name for name in request.backends or known if name in task.backends or name in request.others]


def _by_value(cell: Cell) -> Cell:
    """A model whose NumPy has no gradient by hand takes part by its value there."""
    task = tasks.get(cell.case.task)
    if task.folder is None or cell.backend != "numpy" or cell.operator != "gradient" or not tasks.limit(cell):
        return cell
    return replace(cell, operator="value")


def value_method(task: Task, variant: str, methods: Sequence[str]) -> str:
    """The method for all but gradients by the default engine: the reference's, if it is among ``methods``.

    Values, jvps and hvps know no method, and the other methods are rules of their own, for gradients and no engine.
    """
    reference = task.reference_method(variant)
    return reference if reference in methods or not methods else methods[0]


def groups(chosen: Sequence[Cell]) -> Iterator[Group]:
    """The cells by worker process; the reference's backend and the float64 cells come first within a task."""

    def key(cell: Cell) -> tuple[str, str, str, str]:
        return cell.case.task, cell.backend, cell.device, cell.precision

    def order(cell: Cell) -> tuple[int, bool, bool, int, str, int, int]:
        led = not tasks.get(cell.case.task).by_hand  # by whichever is good: those that can be come first
        return (
            tasks.known().index(cell.case.task),
            led and dtype(cell.precision) != "float64",
            led and cell.backend == "numpy" and cell.operator == "value",
            BACKENDS.index(cell.backend) if cell.backend in BACKENDS else len(BACKENDS),
            cell.backend,
            DEVICES.index(cell.device),
            PRECISIONS.index(cell.precision),
        )

    for (task, backend, device, precision), members in groupby(sorted(chosen, key=order), key):
        yield Group(task, backend, device, precision, tuple(members))


def estimate(cell: Cell) -> int:
    """Bytes of host memory that a cell will need at its peak, the framework included."""
    task = tasks.get(cell.case.task)
    config = task.configure(cell.case.variant, cell.case.size)
    return FRAMEWORK_BYTES + task.memory(config, cell.method, np.dtype(dtype(cell.precision)).itemsize)


def check_memory(chosen: Sequence[Cell], limit: int | None = None, at_once: int = 1) -> None:
    """Refuses cells that would not fit, ``at_once`` of them, into ``limit`` bytes (default: what is free now,
    within the limits of control groups).

    Raises:
        UsageError: naming the largest of them, its need and what there is.
    """
    free = limit if limit is not None else free_memory.available()
    largest = max(chosen, key=estimate)
    need = at_once * estimate(largest)
    if need > free:
        times = f", {at_once} times at once," if at_once > 1 else ""
        raise UsageError(
            f"{largest.name}{times} needs about {need / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are there: "
            "choose a smaller --size or another --method, or set --memory-limit if you know better"
        )


def check_names(kind: str, asked: Sequence[str] | None, known: Sequence[str]) -> None:
    """Raises UsageError, with the known names, for the first that is unknown."""
    for name in asked or ():
        if name not in known:
            told = f"there is no {kind} {name!r}; there are: {', '.join(dict.fromkeys(known))}"
            raise UsageError(told + nearest(name, known))
