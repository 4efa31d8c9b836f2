"""The tasks by name. Each folder declares one; nothing here imports a framework."""

from __future__ import annotations

from importlib import import_module

from diffprog.errors import UsageError, nearest
from diffprog.spec import Functions, Task

NAMES = ("flow", "eigensolver", "qcbm", "trg")

_MODULES = {"numpy": "reference", "torch": "on_torch", "jax": "on_jax"}


def get(name: str) -> Task:
    """The declaration of a task.

    Raises:
        UsageError: if there is no such task.
    """
    if name not in NAMES:
        raise UsageError(f"there is no task {name!r}; the tasks are: {', '.join(NAMES)}" + nearest(name, NAMES))
    task: Task = import_module(f"diffprog.tasks.{name}.spec").TASK
    return task


def functions(name: str, backend: str, config: object, method: str) -> Functions:
    """A Python task's functions on one backend; imports the backend's framework.

    Raises:
        NotImplementedError: if that backend has no such method, with the reason.
    """
    module = import_module(f"diffprog.tasks.{name}.{_MODULES[backend]}")
    built: Functions = module.build(config, method)
    return built
