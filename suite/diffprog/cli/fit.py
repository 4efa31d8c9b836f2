"""The command ``diffprog fit``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from diffprog.cli import models, options
from diffprog.cli.console import find_julia_for, names, out, progress_bars, say, stoppable, stopped, warn
from diffprog.cli.options import ConfigFile, JuliaExe, JuliaProject, Names, Threads, TimeLimit, given, out_folder
from diffprog.records.fits import FitRecord
from diffprog.records.protocol import Step
from diffprog.run import driver, fits
from diffprog.run.fits import FitRun

MOST_STEPS = 10_000_000
"""Each has its loss in memory and in a file."""


def fit(
    task: Annotated[str, typer.Argument(metavar="TASK")],
    variant: Names = None,
    size: Annotated[str | None, typer.Option(callback=given, help="[default: the task's own]")] = None,
    backend: Names = None,
    method: Annotated[str | None, typer.Option(callback=given, help="[default: the task's first]")] = None,
    optimiser: Annotated[
        list[str] | None, typer.Option(metavar="NAME,…", callback=given, help="adam, lbfgs [default: all that can]")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, max=MOST_STEPS, help="At most [default: the task's own].")] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=1e-12, max=1e6, callback=options.finite, help="Adam's step size [default: the task's own]."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=options.MOST_SEED)] = 0,
    folder: Annotated[Path | None, out_folder("reports/fit-TASK-TIME")] = None,
    threads: Threads = 1,
    time_limit: TimeLimit = 900.0,
    julia_exe: JuliaExe = None,
    julia_project: JuliaProject = None,
    config_file: ConfigFile = None,
) -> None:
    """Optimise a task from the same start on every backend; draw the learning curves and what was learned.

    Adam is each framework's own (torch.optim, optax, Optimisers.jl), L-BFGS is SciPy's for all. In float64 the first 50
    Adam losses must be the same on all backends, to a relative 1e-8. A loss that some parameters minimise and others
    maximise is fitted by Adam alone, which moves them against each other.

    Exit codes: 0 all fits ok, unsupported or unavailable; 1 a fit disagrees, errs, crashes or times out; 2 the command
    itself was wrong; 130 stopped by Ctrl-C: what was optimised until then is kept and drawn.

    Examples:
    `diffprog fit qcbm`

    `diffprog fit flow --backend torch,jax --optimiser adam --steps 200`
    """
    task = models.name_of(task)
    chosen = fits.planned(
        fits.Request(
            task,
            names(variant),
            size,
            names(backend),
            method,
            names(optimiser),
            seed=seed,
            steps=steps,
            rate=rate,
        )
    )
    folder = folder or Path("reports") / datetime.now().strftime(f"fit-{task}-%Y-%m-%d-%H%M%S")
    search = find_julia_for({one.backend for one in chosen}, julia_exe, julia_project, config_file)
    running = fits.FitRun(folder, driver.Settings(threads=threads, time_limit=time_limit, julia=search))
    running.start()
    ended = False
    try:
        with _fit_progress(running, chosen):
            running.run(chosen)
    except KeyboardInterrupt:
        ended = True
        stopped(f"{len(running.records)} of {len(chosen)} fits are kept in {folder}")
    if running.records:
        from diffprog.report import build, terminal

        with stoppable(lambda: f"The fits are kept: diffprog report {shlex.quote(str(folder))} draws them."):
            out.print(terminal.fits(running.records))
            say(f"Report: {build.write(folder, tell=partial(warn, style='yellow'))}")
    raise typer.Exit(130 if ended else fits.exit_code(running.records))


def _fit_progress(running: FitRun, chosen: Sequence[FitRecord]) -> Progress:
    """A bar over the steps of the fit under way, with its loss, and one over all fits."""
    progress = progress_bars()
    every = progress.add_task("fits", total=len(chosen))
    bar = progress.add_task("", total=None)

    def listen(what: str, one: FitRecord, step: Step | None) -> None:
        name = f"{one.task} {one.variant} {one.size} · {one.backend} {one.optimiser}"
        if what == "done":
            progress.advance(every)
            progress.reset(bar, total=None, description="")
        elif step is None:
            progress.update(bar, description=f"{name}: {what}")
        else:
            text = f"{name}: loss {step.loss:.6g}"
            progress.update(bar, description=text, completed=step.step, total=one.steps)

    running.listener = listen
    return progress
