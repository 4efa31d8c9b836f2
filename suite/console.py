"""What the commands share: the consoles, common options, progress bars, and the search for Julia."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from suite import config
from suite.backends import find_julia, setup_julia
from suite.run import variables
from suite.spec import Cell

out = Console(width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True)

Names = Annotated[list[str] | None, typer.Option(metavar="NAME,…")]
Folder = Annotated[Path, typer.Argument(help="The report folder of a run.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of every backend; on Linux also the processors it may use.")]
JuliaExe = Annotated[str | None, typer.Option(help="A Julia executable; goes with --julia-project.")]
JuliaProject = Annotated[str | None, typer.Option(help="The Julia environment that holds the packages.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help=f"A settings file [default: {config.FILE}, if any].")]


def names(asked: list[str] | None) -> tuple[str, ...] | None:
    """Repeated options and comma lists, flattened; None if nothing was asked for."""
    found = tuple(name.strip() for text in asked or () for name in text.split(",") if name.strip())
    return tuple(dict.fromkeys(found)) or None


def find_julia_for(
    chosen: set[str], executable: str | None, project: str | None, config_file: Path | None
) -> find_julia.Search:
    """Settles which Julia to use, and precompiles for it, if it is among the backends."""
    settings = config.read(config_file)
    if "julia" not in chosen:
        return find_julia.Search()
    if executable is None and project is None:
        executable, project = settings.julia_executable, settings.julia_project
    search = find_julia.find(executable, project)
    if search.julia is None:
        mend = f"; to mend this: {search.mend}" if search.mend else ""
        err.print(f"Julia is not available, so its cells will not run: {search.reason}{mend}", style="yellow")
    elif not search.julia.precompiled:
        err.print("Precompiling the Julia package, once …")
        setup_julia.precompile(search.julia)
    return search


def tell_dropped(keep: Sequence[str]) -> None:
    """Says which of the user's variables the workers do not see, though they might have been meant for them."""
    dropped = variables.dropped(keep)
    if dropped:
        text = f"Not handed to the workers: {', '.join(dropped)} (--keep-env NAME keeps one; docs/environment.md)"
        err.print(text, style="yellow", soft_wrap=True, markup=False, highlight=False)


def progress_bars() -> Progress:
    """Bars on standard error: what is being done, how much of it is done, and the time since."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=err)


def cell_listener(progress: Progress, total: int) -> Callable[[str, Cell | None], None]:
    """Shows what a run tells its listener, of ``total`` cells, as one bar."""
    bar = progress.add_task("planning", total=total)

    def listen(what: str, cell: Cell | None) -> None:
        if what == "done":
            progress.advance(bar)
        elif cell is not None:
            progress.update(
                bar, description=f"{cell.case.task} {cell.case.size} · {cell.backend} {cell.method}: {what}"
            )

    return listen
