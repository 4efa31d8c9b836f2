"""The command ``diffprog report``."""

from __future__ import annotations

from functools import partial

from diffprog.cli import run
from diffprog.cli.console import out, say, stoppable, warn
from diffprog.cli.options import Folder
from diffprog.run import models


def report(folder: Folder) -> None:
    """Write the tables, figures and pages of a run or a fit again from its records.

    Example: `diffprog report reports/reference/some-machine`
    """
    from diffprog.records.cells import Journal
    from diffprog.records.fits import FitJournal
    from diffprog.report import build, terminal

    models.recall(folder)  # what is gone of them is told as the report is written
    fitted = FitJournal(folder)
    if not fitted.path.exists():
        run.show(folder, Journal(folder).read(), report=True)
    else:
        with stoppable(lambda: f"The records in {folder} are as they were."):
            out.print(terminal.fits(fitted.read(mend=True)))
            say(f"Report: {build.write(folder, tell=partial(warn, style='yellow'))}")
