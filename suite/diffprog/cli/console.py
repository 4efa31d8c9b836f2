"""What the commands share in a terminal: the consoles, progress bars, stopping, and the search for Julia.

Nothing that is printed is markup, and nothing of it acts on the terminal: names and reasons come from users.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.text import Text

from diffprog import config
from diffprog.backends import find_julia, setup_julia
from diffprog.plain import visible
from diffprog.run import variables
from diffprog.spec import Cell


class _Plain(Console):
    """A console without markup, on which control characters are spelt out."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def _console(*, stderr: bool = False, width: int | None = None) -> Console:
    return _Plain(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


out = _console(width=None if sys.stdout is not None and sys.stdout.isatty() else 160)
err = _console(stderr=True)


def say(text: object, style: str = "") -> None:
    """Prints a text as it is, on one line however long: to be copied."""
    out.print(Text(str(text), style), soft_wrap=True)


def warn(text: object, style: str = "") -> None:
    """The same on standard error."""
    err.print(Text(str(text), style), soft_wrap=True)


@dataclass
class Stop:
    """Whether Ctrl-C was pressed, and whether what follows from it was told."""

    asked: bool = False
    told: bool = False


stop = Stop()


def stopped(kept: str) -> None:
    """Says that Ctrl-C stopped the command, and what is ``kept``."""
    stop.told = True
    warn(f"\nStopped. {kept}")


@contextmanager
def stoppable(kept: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C within this block ends the command with one sentence, what is ``kept``, and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        stopped(kept())
        raise typer.Exit(130) from None


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
        warn(f"Julia is not available, so its cells will not run: {search.reason}{mend}", "yellow")
    elif not search.julia.precompiled:
        warn("Precompiling the Julia package, once …")
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
        TextColumn("{task.description}", markup=False),
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
