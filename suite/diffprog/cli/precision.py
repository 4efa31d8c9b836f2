"""The command ``diffprog precision``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from diffprog import tasks
from diffprog.cli import models
from diffprog.cli.console import find_julia_for, names, progress_bars, say, stoppable, warn
from diffprog.cli.options import (  # fmt: skip
    ConfigFile,
    JuliaExe,
    JuliaProject,
    Names,
    Seconds,
    Threads,
    TimeLimit,
    given,
    out_folder,
)
from diffprog.run import driver, plan
from diffprog.spec import BACKENDS, SIZES, Case


def precision(
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
    from diffprog.run import precision as ladder

    task = models.name_of(task)
    plan.check_names("task", [task], tasks.known())
    plan.check_names("size", [size], SIZES)
    backends = names(backend) or BACKENDS
    plan.check_names("backend", backends, BACKENDS)
    chosen = tasks.get(task)
    chosen.check(variant=variant)
    case = Case(task, variant or chosen.variants[0], size, 0)
    total = len(backends) * len(ladder.rungs(task, chosen.configure(case.variant, size)))
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

    with stoppable(lambda: f"The points that are done are kept in {folder / ladder.FILE}"), progress:
        points = ladder.measure(case, backends, folder, settings, listen)
    for text in dict.fromkeys(f"{p.backend} {p.method}: {p.outcome}: {p.reason}" for p in points if p.outcome != "ok"):
        warn(text, "yellow")
    table = work_precision.read(folder / ladder.FILE)
    with stoppable(lambda: f"All points are kept in {folder / ladder.FILE}"), style.settings():
        figure = None if table is None else work_precision.draw(table)
        path = folder / ladder.FILE if figure is None else style.save(figure, folder / "figures", "work_precision")
    say(f"Work against precision: {path}")
    raise typer.Exit(int(any(p.outcome not in ("ok", "unsupported", "unavailable") for p in points)))
