"""The command ``diffprog run``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from diffprog.cli import models
from diffprog.cli import versus as cli_versus
from diffprog.cli.budget import BUDGET, CACHE, REFERENCES, duration, left_over
from diffprog.cli.compare import FAIL_ON, MARKDOWN
from diffprog.cli.console import (
    cell_listener,
    find_julia_for,
    names,
    out,
    progress_bars,
    say,
    stoppable,
    tell_dropped,
    warn,
)
from diffprog.cli.options import (  # fmt: skip
    MOST_GIB,
    MOST_SAMPLES,
    MOST_SEED,
    ConfigFile,
    JuliaExe,
    JuliaProject,
    Names,
    Require,
    Seconds,
    Threads,
    TimeLimit,
    finite,
    given,
    markdown_file,
    out_folder,
    path,
)
from diffprog.cli.workers import workers as started_by
from diffprog.errors import UsageError
from diffprog.records.cells import Journal, Record
from diffprog.run import driver, installation, plan, variables
from diffprog.run import models as kept
from diffprog.run.budget import Budgeted
from diffprog.run.installation import Installation
from diffprog.run.references import take as take_references
from diffprog.run.versus import BEFORE
from diffprog.spec import BACKENDS, Cell

LEAST_SAMPLES = 9
WORKER = "Start this for a backend, of the suite or another name: a program that speaks docs/protocol.md."
KEEP = "Hand this variable on to the workers, whose environment is built anew; it is recorded."
REMEASURE = "--resume: measure again what is of another machine, other versions, code or settings, not refuse it."
VERSUS = "Measure another installation in turn with this one: its Python, or a checkout, for this Python."


def run(
    task: Names = None,
    variant: Names = None,
    size: Names = None,
    backend: Names = None,
    method: Names = None,
    operator: Names = None,
    engine: Names = None,
    precision: Names = None,
    device: Names = None,
    seed: Names = None,
    folder: Annotated[Path | None, out_folder("reports/TIME")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Complete the run that --out holds.")] = False,
    remeasure: Annotated[bool, typer.Option("--remeasure", help=REMEASURE)] = False,
    require: Require = None,
    threads: Threads = 1,
    samples: Annotated[
        int, typer.Option(min=0, max=MOST_SAMPLES, help="Steady samples of each, 9 at least; 0: nothing is timed.")
    ] = 9,
    seconds: Seconds = 1.0,
    time_limit: TimeLimit = 900.0,
    budget: Annotated[str | None, typer.Option(metavar="TIME", callback=given, help=BUDGET)] = None,
    references: Annotated[Path | None, typer.Option(metavar="FOLDER", parser=path, help=REFERENCES)] = None,
    compile_cache: Annotated[Path | None, typer.Option(metavar="FOLDER", parser=path, help=CACHE)] = None,
    keep_env: Annotated[list[str] | None, typer.Option(metavar="NAME,…", callback=given, help=KEEP)] = None,
    worker: Annotated[list[str] | None, typer.Option(metavar="NAME=COMMAND", callback=given, help=WORKER)] = None,
    versus: Annotated[
        str | None, typer.Option("--versus", metavar="PYTHON|FOLDER", callback=given, help=VERSUS)
    ] = None,
    fail_on: Annotated[
        list[str] | None, typer.Option(metavar="slower", callback=given, help=f"--versus: {FAIL_ON}")
    ] = None,
    markdown: Annotated[Path | None, markdown_file(f"--versus: {MARKDOWN}")] = None,
    memory_limit: Annotated[
        float | None,
        typer.Option(min=0, max=MOST_GIB, callback=finite, help="GiB a cell may need [default: what is free]."),
    ] = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write tables, figures and the page.")] = True,
    julia_exe: JuliaExe = None,
    julia_project: JuliaProject = None,
    config_file: ConfigFile = None,
) -> None:
    """Compute, check and time cells; write a report folder.

    Every option may be repeated or given as a comma list; what is left out means all there is, but for --size (tiny),
    --operator (gradient), --engine (each operator's default; or `all`), --precision (float64), --device (cpu) and
    --seed (0).

    Exit codes: 0 all cells ok, unsupported or unavailable; 1 a cell disagrees, errs, crashes or times out, or a
    required backend is unavailable; 2 the command itself was wrong; 130 stopped by Ctrl-C.

    Examples:
    `diffprog run --task qcbm --size small`

    `diffprog run --task trg --operator jvp,hvp --engine all`

    `diffprog run --backend torch,jax --precision float64,float32 --out reports/pair`

    `diffprog run --out reports/pair --resume`

    `diffprog run --require julia`

    `diffprog run --task qcbm --worker "rust=target/release/worker --quiet"`

    With --versus two runs are made, in the folders `before` (the other installation's) and `after` (this one's) of
    --out: from the same inputs, their samples taken in turn, in pairs. They are compared as by `diffprog compare`, and
    exit code 1 is for what that command has it for, or a required backend that is unavailable.

    `diffprog run --versus ../main --fail-on slower` (after `git worktree add ../main main`)

    `diffprog run --versus ../old/.venv/bin/python --task trg --size small`

    Where minutes are counted, let another machine compute the references beforehand, and the page afterwards:

    `diffprog run --backend numpy --size tiny,small --samples 0 --out reports/numpy`

    `diffprog run --device cuda --size tiny,small --references reports/numpy --budget 8m --no-report --out reports/gpu`
    """
    if 0 < samples < LEAST_SAMPLES:
        raise UsageError(f"at least {LEAST_SAMPLES} samples tell a spread; 0: nothing is timed")
    time = None if budget is None else duration(budget)
    if versus is not None and (time is not None or references is not None or compile_cache is not None):
        raise UsageError(
            "--versus computes its own references, compiles anew and needs no budget: leave --budget, --references and "
            "--compile-cache out"
        )
    workers = started_by(worker)
    keep = names(keep_env) or ()
    variables.check(keep)
    if remeasure and not resume:
        raise UsageError("--remeasure is about the records of an earlier run: it goes with --resume")
    other = _other(versus, workers, fail_on, markdown)
    request = plan.Request(
        tasks=models.named(names(task)) or (_held(folder) if resume else None),
        variants=names(variant),
        sizes=names(size) or None,
        backends=names(backend),
        methods=names(method),
        operators=names(operator) or ("gradient",),
        engines=names(engine) or (),
        precisions=names(precision) or ("float64",),
        devices=names(device) or ("cpu",),
        seeds=_seeds(names(seed)),
        others=tuple(workers),
    )
    required = names(require) or ()
    plan.check_names("backend", required, request.backends or (*BACKENDS, *workers))
    cells = plan.cells(request)
    limit = None if memory_limit is None else int(memory_limit * 2**30)
    plan.check_memory(cells, limit, at_once=1 if versus is None else 2)
    folder = folder or Path("reports") / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    search = find_julia_for({cell.backend for cell in cells} - workers.keys(), julia_exe, julia_project, config_file)
    settings = driver.Settings(
        threads=threads,
        samples=samples,
        seconds=seconds,
        time_limit=time_limit,
        julia=search,
        workers=workers,
        keep=keep,
        compile_cache=compile_cache,
    )
    if other is not None:
        both = cli_versus.measure(folder, settings, other, cells, resume=resume, remeasure=remeasure)
        code = cli_versus.show(folder, report=report, markdown=markdown, fail_on_slower=fail_on is not None)
        raise typer.Exit(int(_missing(both, required)) or code)
    wanted = plan.cells(request, references=False)
    running = driver.Run(folder, settings) if time is None else Budgeted(folder, settings, budget=time, wanted=wanted)
    records = _run(running, cells, wanted, references, resume=resume, remeasure=remeasure)
    show(folder, records, report=report)
    _missing(records, required)
    raise typer.Exit(driver.exit_code(records, required))


def _held(folder: Path | None) -> tuple[str, ...] | None:
    """The tasks of a run that is to be completed, where users' models are among them; None: all that the suite has."""
    if folder is None:
        return None
    homes = [home for home in (folder, folder / BEFORE) if kept.held(home)]
    records = [record for home in homes for record in Journal(home).read(mend=True)]
    return tuple(dict.fromkeys(record.task for record in records)) or None


def _missing(records: Sequence[Record], required: Sequence[str]) -> bool:
    """Says which of the required backends are unavailable; whether there are any."""
    missing = sorted({r.backend for r in records if r.backend in required and r.outcome == "unavailable"})
    if missing:
        warn(f"diffprog: required, but unavailable: {', '.join(missing)}", "bold red")
    return bool(missing)


def _other(
    versus: str | None, workers: Mapping[str, object], fail_on: list[str] | None, markdown: Path | None
) -> Installation | None:
    """The other installation, where one was asked for."""
    if versus is None:
        if fail_on or markdown:
            raise UsageError("--fail-on and --markdown are about a comparison: they go with --versus")
        return None
    plan.check_names("verdict to fail on", names(fail_on), ("slower",))
    if workers:
        raise UsageError("--versus measures the suite's own workers: leave --worker out")
    return installation.find(versus)


def _seeds(asked: Sequence[str] | None) -> tuple[int, ...]:
    try:
        seeds = tuple(int(text) for text in asked or ("0",))
    except ValueError:
        raise UsageError(f"a seed is a whole number, not {', '.join(asked or ())!r}") from None
    if not 0 <= min(seeds) <= max(seeds) <= MOST_SEED:
        raise UsageError(f"a seed is from 0 to {MOST_SEED}")
    return seeds


def _run(
    running: driver.Run,
    cells: Sequence[Cell],
    wanted: Sequence[Cell],
    references: Path | None,
    *,
    resume: bool,
    remeasure: bool,
) -> list[Record]:
    folder = running.folder
    progress = progress_bars()
    running.start(resume=resume, remeasure=remeasure)
    tell_dropped(running.settings.keep)
    if references is not None:
        cells = take_references(running, references, cells, wanted)
    running.listener = cell_listener(progress, len(cells))

    def kept() -> str:
        at = shlex.quote(str(folder))
        return f"{len(running.records)} of {len(cells)} cells are kept in {folder}; go on with --out {at} --resume"

    with stoppable(kept), progress:
        records = running.run(cells)
    if told := left_over(running):
        warn(told)
    return records


def show(folder: Path, records: Sequence[Record], *, report: bool) -> None:
    """The table of a run, and its report."""
    with stoppable(lambda: f"All cells are kept: diffprog report {shlex.quote(str(folder))} writes their report."):
        from diffprog.report import terminal
        from diffprog.report.run.notes import notes

        out.print(terminal.table(records))
        for note in notes(folder, records):
            warn(note, "yellow")
        if report:
            from diffprog.report import build

            say(f"Report: {build.write(folder, tell=partial(warn, style='yellow'))}")
        else:
            say(f"Records: {folder}")
