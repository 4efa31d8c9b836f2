"""The commands of ``diffprog``, put together; those without a file of their own are here."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

import diffprog
from diffprog import config, tasks
from diffprog.backends import find_julia, setup_julia
from diffprog.cli import baseline, bridge, compare, fit, new
from diffprog.cli import run as cli_run
from diffprog.cli.console import err, find_julia_for, names, out, progress_bars, say, stoppable, warn
from diffprog.cli.options import (  # fmt: skip
    ConfigFile,
    Folder,
    JuliaExe,
    JuliaProject,
    Names,
    Seconds,
    Threads,
    TimeLimit,
    given,
    out_folder,
)
from diffprog.run import doctor as examination
from diffprog.run import driver, plan
from diffprog.spec import BACKENDS, SIZES, Case

app = typer.Typer(
    help="For the same physics, do PyTorch, JAX and Julia give the same gradient, and what does it cost?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
app.add_typer(baseline.app, name="baseline")
app.command()(cli_run.run)
app.command()(fit.fit)
app.command()(new.new)
app.command()(compare.compare)
app.command()(bridge.bridge)


@app.command("list")
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


@app.command("report")
def report_(folder: Folder) -> None:
    """Write the tables, figures and pages of a run or a fit again from its records.

    Example: `diffprog report reports/reference/some-machine`
    """
    from diffprog.records.cells import Journal
    from diffprog.records.fits import FitJournal
    from diffprog.report import build
    from diffprog.report.run import terminal

    fitted = FitJournal(folder)
    if not fitted.path.exists():
        cli_run.show(folder, Journal(folder).read(), report=True)
    else:
        with stoppable(lambda: f"The records in {folder} are as they were."):
            out.print(terminal.fits(fitted.read(mend=True)))
            say(f"Report: {build.write(folder)}")


@app.command("precision")
def precision_(
    task: Annotated[str, typer.Argument(help="The task, such as flow.")],
    variant: Annotated[str | None, typer.Option(callback=given, help="[default: the task's first]")] = None,
    size: Annotated[str, typer.Option(callback=given, help="The size.")] = "tiny",
    backend: Names = None,
    folder: Annotated[Path | None, out_folder("reports/TIME")] = None,
    threads: Threads = 1,
    seconds: Seconds = 0.2,
    time_limit: TimeLimit = 900.0,
    julia_exe: JuliaExe = None,
    julia_project: JuliaProject = None,
    config_file: ConfigFile = None,
) -> None:
    """Error against work: step counts and solver tolerances in a ladder, against a converged answer.

    Writes work_precision.csv after each point, and figures/work_precision.png; a run's report in that folder has
    the figure too. Exit codes: 0 all points computed, unsupported or unavailable; 1 a point failed; 2 the command was
    wrong; 130 stopped by Ctrl-C.

    Example: `diffprog precision flow --backend torch,jax --out reports/pair`
    """
    from diffprog.drawing import style
    from diffprog.report.run import work_precision
    from diffprog.run import precision

    plan.check_names("task", [task], tasks.NAMES)
    plan.check_names("size", [size], SIZES)
    backends = names(backend) or BACKENDS
    plan.check_names("backend", backends, BACKENDS)
    chosen = tasks.get(task)
    chosen.check(variant=variant)
    case = Case(task, variant or chosen.variants[0], size, 0)
    total = len(backends) * len(precision.rungs(task, chosen.configure(case.variant, size)))
    search = find_julia_for(set(backends), julia_exe, julia_project, config_file)
    settings = driver.Settings(threads=threads, seconds=seconds, time_limit=time_limit, julia=search)
    folder = folder or Path("reports") / f"{datetime.now():%Y-%m-%d-%H%M%S}"
    progress = progress_bars()
    bar = progress.add_task(f"{case.key}: starting", total=total)

    def listen(what: str) -> None:
        if what == "done":
            progress.advance(bar)
        else:
            progress.update(bar, description=f"{case.key} · {what}")

    with stoppable(lambda: f"The points that are done are kept in {folder / precision.FILE}"), progress:
        points = precision.measure(case, backends, folder, settings, listen)
    for text in dict.fromkeys(f"{p.backend} {p.method}: {p.outcome}: {p.reason}" for p in points if p.outcome != "ok"):
        warn(text, "yellow")
    table = work_precision.read(folder / precision.FILE)
    with stoppable(lambda: f"All points are kept in {folder / precision.FILE}"), style.settings():
        figure = None if table is None else work_precision.draw(table)
        path = folder / precision.FILE if figure is None else style.save(figure, folder / "figures", "work_precision")
    say(f"Work against precision: {path}")
    raise typer.Exit(int(any(p.outcome not in ("ok", "unsupported", "unavailable") for p in points)))


@app.command()
def doctor(
    threads: Threads = 1,
    julia_exe: JuliaExe = None,
    julia_project: JuliaProject = None,
    config_file: ConfigFile = None,
) -> None:
    """What is installed, what is missing, and the exact command that mends it. Opens every backend; changes nothing.

    Example: `diffprog doctor`
    """
    from diffprog.run import environment

    say(f"diffprog {diffprog.__version__} on {environment.cpu()}, {environment.cores()} processors", "bold")
    settings = config.read(config_file)
    executable, project = (
        (julia_exe, julia_project)
        if julia_exe or julia_project
        else (
            settings.julia_executable,
            settings.julia_project,
        )
    )
    search = find_julia.find(executable, project)
    for attempt in search.attempts:
        say(f"Julia: not taken: {attempt}")
    if search.julia is not None:
        julia = search.julia
        state = "precompiled" if julia.precompiled else "not yet precompiled (the next run does it, for some minutes)"
        say(f"Julia: taken: {julia.version} {julia.route}: {julia.executable}")
        say(f"       environment {julia.project}, {state}")
    with err.status("Opening every backend …"):
        findings = examination.examine(search, threads)
    table = Table("backend", "device", "state", "detail", "to mend it")
    for finding in findings:
        coloured = Text(finding.state, "green" if finding.state == "ready" else "yellow")
        table.add_row(finding.backend, finding.device, coloured, finding.detail or finding.reason, finding.mend)
    out.print(table)


@app.command("setup-julia")
def setup_julia_(
    julia_exe: JuliaExe = None, julia_project: JuliaProject = None, config_file: ConfigFile = None
) -> None:
    """Find Julia, or download it and its packages with juliapkg, and precompile the tasks.

    Example: `diffprog setup-julia`
    """
    settings = config.read(config_file)
    executable, project = julia_exe or settings.julia_executable, julia_project or settings.julia_project
    julia = setup_julia.ensure(executable, project).julia
    assert julia is not None
    say(f"Julia {julia.version} is ready ({julia.route}): {julia.executable}")
