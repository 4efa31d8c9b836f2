"""The command ``diffprog list``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.table import Table

from diffprog import tasks
from diffprog.cli import models
from diffprog.cli.console import out, say, warn
from diffprog.declaration import Task
from diffprog.errors import UsageError


def list_(
    chosen: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK]…", help="Only these: names, or folders of your own.")
    ] = None,
) -> None:
    """What can be run: tasks with where they come from, variants, methods and sizes.

    The suite's own tasks, and those of installed distributions. A task of your own is a folder: name it.

    Examples:
    `diffprog list`

    `diffprog list ./wine`
    """
    for name, origin in _named(chosen) if chosen else _all():
        _show(tasks.get(name), origin)


def _named(chosen: list[str]) -> Iterator[tuple[str, str]]:
    """The tasks asked for, with where they come from."""
    for asked in chosen:
        name = models.name_of(asked)
        if name not in tasks.known():
            tasks.get(name)  # which says what there is
        yield name, models.origin_of(name)


def _all() -> Iterator[tuple[str, str]]:
    """All tasks that need not be named, with where they come from; what a distribution brings and is none is told."""
    points = models.installed()  # two of one name are refused before anything is shown
    for name in tasks.NAMES:
        yield name, models.SUITE
    for point in points:
        try:
            yield models.add(point), models.origin(point)
        except UsageError as error:
            warn(error, "yellow")


def _show(task: Task, origin: str) -> None:
    table = Table(title=f"{task.name}: {task.title}", title_justify="left", title_style="bold")
    for column in ("variant", "size", "parameters", "work", "memory of a gradient"):
        table.add_column(column, justify="right" if column in ("parameters", "memory of a gradient") else "left")
    for variant in task.variants:
        for size in task.sizes:
            problem = task.configure(variant, size)
            work = ", ".join(f"{k} {v:,}" for k, v in task.work(problem).items() if k != "parameters")
            memory = f"{task.memory(problem, task.reference_method(variant), 8) / 2**20:,.0f} MiB"
            table.add_row(variant, size, f"{task.layout(problem).size:,}", work, memory)
    out.print(table)
    say(f"  methods: {', '.join(task.methods)}")
    if task.folder is not None:
        say(f"  backends: {', '.join(task.backends)}")
    say(f"  from: {origin}\n")
