"""The command ``diffprog list``."""

from __future__ import annotations

from rich.table import Table

from diffprog import tasks
from diffprog.cli.console import out, say
from diffprog.spec import SIZES


def list_() -> None:
    """What can be run: tasks, variants, methods and sizes.

    Example: `diffprog list`
    """
    for name in tasks.NAMES:
        task = tasks.get(name)
        table = Table(title=f"{name}: {task.title}", title_justify="left", title_style="bold")
        for column in ("variant", "size", "parameters", "work", "memory of a gradient"):
            table.add_column(column, justify="right" if column in ("parameters", "memory of a gradient") else "left")
        for variant in task.variants:
            for size in SIZES:
                problem = task.configure(variant, size)
                work = ", ".join(f"{k} {v:,}" for k, v in task.work(problem).items() if k != "parameters")
                memory = f"{task.memory(problem, task.reference_method(variant), 8) / 2**20:,.0f} MiB"
                table.add_row(variant, size, f"{task.layout(problem).size:,}", work, memory)
        out.print(table)
        say(f"  methods: {', '.join(task.methods)}\n")
