"""The tasks by name: the suite's own, those that installed distributions bring, and folders that a run is given.

A task of the suite is a folder here with a ``spec.py``; nothing else names it. Nothing here imports a framework.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from diffprog import engines
from diffprog.declaration import Task
from diffprog.errors import UsageError, nearest
from diffprog.models import declaring, loading
from diffprog.spec import Case, Cell, Functions

NAMES = tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/spec.py")))
"""The suite's own."""

_MODULES = {"numpy": "reference", "torch": "on_torch", "jax": "on_jax"}
_added: dict[str, Task] = {}


def add(folder: Path) -> Task:
    """Makes the model in a folder known to this process as a task.

    Raises:
        UsageError: if it is none, or another task has its name.
    """
    task = declaring.task(folder)
    known = _added.get(task.name)
    if task.name in NAMES or (known is not None and known.folder != task.folder):
        other = "one of the suite" if known is None else f"the one in {known.folder}"
        raise UsageError(f"two tasks are called {task.name}: the one in {task.folder} and {other}; rename its folder")
    _added[task.name] = task
    return task


def known() -> tuple[str, ...]:
    """The names of all tasks that this process knows, the suite's own first."""
    return (*NAMES, *_added)


def get(name: str) -> Task:
    """The declaration of a task.

    Raises:
        UsageError: if there is no such task.
    """
    if name in _added:
        return _added[name]
    if name not in NAMES:
        raise UsageError(f"there is no task {name!r}; the tasks are: {', '.join(known())}" + nearest(name, known()))
    task: Task = import_module(f"{__name__}.{name}.spec").TASK
    return task


def functions(name: str, backend: str, config: object, method: str) -> Functions:
    """A Python task's functions on one backend; imports the backend's framework.

    Raises:
        NotImplementedError: if that backend has no such method, with the reason.
    """
    task = get(name)
    if task.folder is not None:
        module = import_module(f"diffprog.models.on_{backend}")
    else:
        module = import_module(f"{__name__}.{name}.{_MODULES[backend]}")
    built: Functions = module.build(config, method)
    return built


def part(name: str, module: str) -> ModuleType | None:
    """A module of a task's folder, such as its ``picture``; None where it has none, or there is no such task."""
    if name in NAMES:
        path = f"{__name__}.{name}.{module}"
        return import_module(path) if find_spec(path) is not None else None
    task = _added.get(name)
    if task is None or task.folder is None:
        return None
    return loading.optional(task.folder, module)


def engine(backend: str, task: str, operator: str) -> str:
    """The engine that is used where none is asked for."""
    own = get(task).engines if task in known() else {}
    return own.get((backend, operator)) or engines.default(backend, operator)


def cell(
    case: Case, backend: str, method: str, operator: str, precision: str = "float64", device: str = "cpu", by: str = ""
) -> Cell:
    """A cell by an engine, or by the one that is used where none is asked for."""
    return Cell(case, backend, method, operator, precision, device, by or engine(backend, case.task, operator))


def limit(cell: Cell) -> str:
    """Why its engine is known not to do a cell, or an empty string."""
    task = cell.case.task
    return engines.limit(cell, get(task).limits if task in known() else ())
