"""Pictures of users' models: what fails in one costs the report nothing, and is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from diffprog import tasks
from diffprog.models import arrays, loading
from diffprog.models.declaring import ModelConfig
from diffprog.spec import Arrays, Case

T = TypeVar("T")


def tried(task: str, draw: Callable[[], T], told: list[str]) -> T | None:
    """What ``draw`` returns; of a user's model None where it raises, with a sentence in ``told``."""
    home = folder(task)
    if home is None:
        return draw()
    try:
        with loading.at_home(home):
            return draw()
    except loading.Fault as fault:
        reason = str(fault)
    except (Exception, SystemExit) as error:
        reason = loading.told(error, home)
    told.append(f"A picture of {task} was not drawn: {reason}.")
    return None


def folder(task: str) -> Path | None:
    """Where a user's model lies; None for a task of the suite, and one that is not known."""
    return tasks.get(task).folder if task in tasks.known() else None


def function(task: str, made: ModuleType, arguments: str) -> Callable[..., object]:
    """``picture`` of a task's module.

    Raises:
        Fault: if a user's has none.
    """
    home = folder(task)
    if home is None:
        return made.picture  # type: ignore[no-any-return]
    return loading.function(made, "picture", home, Path(str(made.__file__)).name, arguments)


def with_names(case: Case, inputs: Arrays) -> Arrays:
    """A user's inputs as they were drawn: the parameters by name, and the data."""
    config = tasks.get(case.task).configure(case.variant, case.size)
    assert isinstance(config, ModelConfig)
    data = {name: array for name, array in inputs.items() if name not in arrays.RESERVED}
    return arrays.named(inputs["params"], config.shapes) | data
