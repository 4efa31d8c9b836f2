"""The command ``diffprog bridge``."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from diffprog.cli.console import find_julia_for, progress_bars, say, stoppable, stopped, warn
from diffprog.cli.options import ConfigFile, JuliaExe, JuliaProject, out_folder
from diffprog.errors import UsageError
from diffprog.run import environment, files, folders, installation, workers


def bridge(
    folder: Annotated[Path | None, out_folder("reports/bridge-TIME")] = None,
    julia_exe: JuliaExe = None,
    julia_project: JuliaProject = None,
    config_file: ConfigFile = None,
) -> None:
    """Measure what it costs to call Julia from Python: by size, by way, and for tasks of the suite.

    Ways: juliacall in this process, the same with Julia in a thread of its own, a worker process; beside them
    juliacall's own calls, and the same programs within Julia. A few minutes.

    Exit codes: 0 all measured, or there is no Julia; 1 a way could not be measured; 2 the command itself was wrong;
    130 stopped by Ctrl-C: what was measured until then is kept and reported.

    Example: `diffprog bridge --out reports/bridge`
    """
    from diffprog.interop.price import WAYS
    from diffprog.report.bridge import page as report

    search = find_julia_for({"julia"}, julia_exe, julia_project, config_file)
    if search.julia is None:
        raise typer.Exit(0)  # and why, was said
    folder = folder or Path("reports") / datetime.now().strftime("bridge-%Y-%m-%d-%H%M%S")
    folders.check(folder)
    try:
        (folder / report.FOLDER).mkdir(parents=True, exist_ok=True)
        files.write_atomically(folder / "environment.json", json.dumps(environment.describe(), indent=1))
    except OSError as error:
        raise UsageError(f"cannot write into {folder} ({error})") from error
    failed = ended = False
    progress = progress_bars()
    bar = progress.add_task("", total=len(WAYS))
    try:
        with progress:
            for way in WAYS:
                progress.update(bar, description=f"the bridge, {report.NAMES[way]}")
                file = folder / report.FOLDER / f"{way}.json"
                command = [*installation.this().runs("diffprog.interop.price"), way, str(file)]
                variables = workers.environment("float64", "cpu", 1, search.julia)
                done = subprocess.run(command, env=variables, stderr=subprocess.PIPE, check=False)
                if done.returncode:
                    failed = True
                    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
                    last = (lines or [f"exit code {done.returncode}"])[-1]
                    warn(f"diffprog: {report.NAMES[way]} could not be measured: {last}", "bold red")
                progress.advance(bar)
    except KeyboardInterrupt:
        ended = True
        stopped(f"What was measured is kept in {folder}")
    if any((folder / report.FOLDER).iterdir()):
        with stoppable(lambda: f"What was measured is kept in {folder}"):
            path = report.write(folder)
        for goal in report.goals(report.read(folder)):
            say(f"{'reached' if goal.reached else 'missed '}  {goal.what}: {goal.found}")
        say(f"Report: {path}")
    raise typer.Exit(130 if ended else int(failed))
