"""What ``diffprog run --versus`` does besides ``diffprog run``: two runs in turn, and their comparison."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from diffprog.backends import setup_julia
from diffprog.cli import compare
from diffprog.cli.console import cell_listener, progress_bars, say, stoppable, tell_dropped, warn
from diffprog.records.cells import Record
from diffprog.run.driver import Settings
from diffprog.run.installation import Installation
from diffprog.run.versus import AFTER, BEFORE, Session
from diffprog.spec import Cell


def measure(
    folder: Path, settings: Settings, other: Installation, cells: Sequence[Cell], *, resume: bool, remeasure: bool
) -> list[Record]:
    """Both runs, in turn; the records of both."""
    progress = progress_bars()
    session = Session(folder, settings, other, cell_listener(progress, 2 * len(cells)))
    session.start(resume=resume, remeasure=remeasure)
    tell_dropped(settings.keep)
    if settings.julia.julia is not None:
        warn("Precompiling the other installation's Julia package, unless it is …")
        setup_julia.precompile(settings.julia.julia, other.environment)

    def kept() -> str:
        done = " and ".join(str(len(run.records)) for run in session.runs)
        return (
            f"{done} of {len(cells)} cells are kept in {session.before.folder} and {session.after.folder}; "
            f"go on with --out {shlex.quote(str(folder))} --resume"
        )

    with stoppable(kept), progress:
        before, after = session.run(cells)
    return [*before, *after]


def show(folder: Path, *, report: bool, markdown: Path | None, fail_on_slower: bool) -> int:
    """The comparison, and the reports of both runs; returns the exit code of ``diffprog compare``."""
    from diffprog.report import build
    from diffprog.report.compare import comparison
    from diffprog.report.compare.change import Options

    before, after = folder / BEFORE, folder / AFTER
    again = f"diffprog compare {shlex.quote(str(before))} {shlex.quote(str(after))}"
    with stoppable(lambda: f"All cells are kept: {again} compares them."):
        found = comparison.compare(before, after, Options())
        compare.show(found, markdown)
        tell = warn if markdown == Path("-") else say  # standard output is the Markdown's
        for run in (before, after):
            tell(f"Report: {build.write(run, tell=partial(warn, style='yellow'))}" if report else f"Records: {run}")
    return found.exit_code(fail_on_slower=fail_on_slower)
