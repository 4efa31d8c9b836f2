"""The commands ``diffprog baseline write`` and ``diffprog baseline check``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.progress import Progress

from diffprog import tasks
from diffprog.cli import comment, models, options
from diffprog.cli.console import find_julia_for, names, progress_bars, say, warn
from diffprog.cli.options import ConfigFile, JuliaExe, JuliaProject, Names, Require, Threads, TimeLimit
from diffprog.errors import UsageError
from diffprog.run import driver, golden, plan
from diffprog.spec import BACKENDS, SIZES, Cell

app = typer.Typer(
    help="Golden values and gradients: write them, or check every backend against them.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

FOLDER = Path("reports/baselines")
MARKDOWN = "Also write the verdict to this file, as a comment for a pull request; - prints it instead."
Where = Annotated[
    Path | None,
    typer.Option(
        "--baselines",
        parser=options.folder,
        metavar="FOLDER",
        help=f"The folder of the baselines [default: {FOLDER}, or baselines in the folder of a task of yours].",
    ),
]


@app.command()
def write(
    task: Names = None,
    size: Names = None,
    folder: Where = None,
    threads: Threads = 1,
    time_limit: TimeLimit = 900.0,
    julia_exe: JuliaExe = None,
    julia_project: JuliaProject = None,
    config_file: ConfigFile = None,
) -> None:
    """Compute the reference's values, gradients, jvps and hvps, and write them down.

    Holds sizes tiny and small, seed 0, of every case with few enough parameters. Nothing is written unless the
    reference agrees with finite differences and closed forms. A task of your own has no reference: the first of its
    backends that agrees with finite differences is taken, and all are computed.

    Examples:
    `diffprog baseline write --task qcbm`

    `diffprog baseline write --task ./wine`
    """
    chosen = models.named(names(task)) or tasks.NAMES
    sizes = names(size) or ("tiny", "small")
    plan.check_names("task", chosen, tasks.known())
    plan.check_names("size", sizes, SIZES)
    cases = golden.cases(chosen, sizes)
    if not cases:
        raise UsageError(
            f"every case of these sizes has more parameters than a baseline holds: {golden.MOST_PARAMETERS}, of a task "
            f"of your own {golden.MOST_OF_A_USER}"
        )
    cells = [cell for case in cases for cell in golden.candidates(case)]
    search = find_julia_for({cell.backend for cell in cells}, julia_exe, julia_project, config_file)
    settings = driver.Settings(threads=threads, samples=0, time_limit=time_limit, julia=search)
    folder = folder or _beside(chosen)
    with TemporaryDirectory() as work, progress_bars() as bars:
        paths = golden.write(folder, Path(work) / "run", cases, settings, _listener(bars, len(cells)))
    for path in paths:
        say(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


@app.command()
def check(
    task: Names = None,
    size: Names = None,
    backend: Names = None,
    operator: Names = None,
    engine: Names = None,
    folder: Where = None,
    require: Require = None,
    markdown: Annotated[Path | None, options.markdown_file(MARKDOWN)] = None,
    threads: Threads = 1,
    time_limit: TimeLimit = 900.0,
    julia_exe: JuliaExe = None,
    julia_project: JuliaProject = None,
    config_file: ConfigFile = None,
) -> None:
    """Compute what the baselines hold on every backend, and compare. Nothing is timed.

    Every cell is checked as `diffprog run` does, and against the golden answers besides. What is left out means all
    there is, but for --size (tiny) and --engine (each operator's default).

    Exit codes: 0 nothing has regressed; 1 a gradient has, or a cell came to no answer; 2 a baseline is missing, stale,
    damaged or of another schema, or the command was wrong.

    Example: `diffprog baseline check --task trg --backend torch`
    """
    request = plan.Request(
        tasks=models.named(names(task)),
        sizes=names(size) or ("tiny",),
        backends=names(backend),
        operators=names(operator) or golden.OPERATORS,
        engines=names(engine) or (),
    )
    required = names(require) or ()
    plan.check_names("backend", required, request.backends or BACKENDS)
    needed = {cell.backend for cell in plan.cells(request)}  # unknown names are told before Julia is looked for
    folder = folder or _beside(request.tasks or tasks.NAMES)
    search = find_julia_for(needed, julia_exe, julia_project, config_file)
    settings = driver.Settings(threads=threads, samples=0, time_limit=time_limit, julia=search)
    with TemporaryDirectory() as work, progress_bars() as bars:
        found = golden.check(folder, Path(work) / "run", request, settings, lambda total: _listener(bars, total))
    for failure in found.failures:
        warn(f"regression: {failure}", "red")
    missing = sorted({r.backend for r in found.records if r.backend in required and r.outcome == "unavailable"})
    if not comment.is_standard_output(markdown):
        _summarise(found)
    comment.write(markdown, comment.of_check(found, missing))
    if missing:
        warn(f"diffprog: required, but unavailable: {', '.join(missing)}", "bold red")
    raise typer.Exit(int(bool(found.failures or missing)))


def _beside(chosen: Sequence[str]) -> Path:
    """Where the baselines of tasks lie: those of a model from outside beside it."""
    places = {FOLDER if (own := tasks.get(name).folder) is None else own / "baselines" for name in chosen}
    if len(places) > 1:
        raise UsageError("these tasks' baselines lie in different folders: name one with --baselines, or one task")
    return places.pop()


def _summarise(found: golden.Check) -> None:
    compared = [record for record in found.records if record.agreement is not None]
    bad = {one.cell for one in found.regressions}
    for name in BACKENDS:
        mine = [record for record in found.records if record.backend == name]
        done = [record for record in mine if record in compared]
        if mine and not done:
            say(f"{name}: {mine[0].outcome}: {mine[0].reason}")
        elif mine:
            worse = sum(record.cell.name in bad for record in done)
            say(f"{name}: {len(done)} cells against the baselines, {worse} regressed")


def _listener(bars: Progress, total: int) -> driver.Listener:
    bar = bars.add_task("starting", total=total)

    def listen(what: str, cell: Cell | None) -> None:
        if what == "done":
            bars.advance(bar)
        elif cell is not None:
            bars.update(bar, description=f"{cell.case.key} · {cell.backend} {cell.operator}: {what}")

    return listen
