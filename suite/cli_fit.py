"""The command ``diffprog fit``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from suite.console import (
    ConfigFile,
    JuliaExe,
    JuliaProject,
    Names,
    Threads,
    err,
    find_julia_for,
    names,
    out,
    progress_bars,
)  # fmt: skip
from suite.fits import FitRecord
from suite.measure.protocol import Step
from suite.run import driver, fits
from suite.run.fits import FitRun


def fit(
    task: Annotated[str, typer.Argument(metavar="TASK")],
    variant: Names = None,
    size: Annotated[str | None, typer.Option(help="[default: the task's own]")] = None,
    backend: Names = None,
    method: Annotated[str | None, typer.Option(help="[default: the task's first]")] = None,
    optimiser: Annotated[list[str] | None, typer.Option(metavar="NAME,…", help="adam, lbfgs [default: both]")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="At most [default: the task's own].")] = None,
    rate: Annotated[float | None, typer.Option(help="Adam's step size [default: the task's own].")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    folder: Annotated[Path | None, typer.Option("--out", help="The report folder [default: reports/fit-…].")] = None,
    threads: Threads = 1,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Longest that one step may take, s.")] = 900.0,
    julia_exe: JuliaExe = None,
    julia_project: JuliaProject = None,
    config_file: ConfigFile = None,
) -> None:
    """Optimise a task from the same start on every backend; draw the learning curves and what was learned.

    Adam is each framework's own (torch.optim, optax, Optimisers.jl), L-BFGS is SciPy's for all. In float64 the first 50
    Adam losses must be the same on all backends, to a relative 1e-8.

    Exit codes: 0 all fits ok, unsupported or unavailable; 1 a fit disagrees, errs, crashes or times out; 2 the command
    itself was wrong; 130 stopped by Ctrl-C: what was optimised until then is kept and drawn.

    Examples:
    `diffprog fit qcbm`

    `diffprog fit flow --backend torch,jax --optimiser adam --steps 200`
    """
    chosen = fits.planned(
        fits.Request(
            task, names(variant), size, names(backend), method, names(optimiser), seed=seed, steps=steps, rate=rate
        )
    )
    folder = folder or Path("reports") / datetime.now().strftime(f"fit-{task}-%Y-%m-%d-%H%M%S")
    search = find_julia_for({one.backend for one in chosen}, julia_exe, julia_project, config_file)
    running = fits.FitRun(folder, driver.Settings(threads=threads, time_limit=time_limit, julia=search))
    running.start()
    stopped = False
    try:
        with _fit_progress(running, chosen):
            running.run(chosen)
    except KeyboardInterrupt:
        stopped = True
        err.print(f"\nStopped. {len(running.records)} of {len(chosen)} fits are kept in {folder}")
    if running.records:
        from suite.report import build, terminal

        out.print(terminal.fits(running.records))
        out.print(f"Report: {build.write(folder)}")
    raise typer.Exit(130 if stopped else fits.exit_code(running.records))


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
