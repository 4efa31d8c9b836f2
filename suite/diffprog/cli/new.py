"""The command ``diffprog new``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffprog import tasks
from diffprog.cli import models, options
from diffprog.cli.console import names, say
from diffprog.cli.options import Names
from diffprog.models import new as making
from diffprog.run import plan
from diffprog.spec import BACKENDS


def new(
    name: Annotated[
        Path, typer.Argument(parser=options.path, metavar="NAME", help="The task's name: that of its new folder.")
    ],
    backend: Names = None,
) -> None:
    """Make the folder of a task of your own: a small model that works, to put yours in its place.

    It has a task.py, which draws the inputs, and a file with the loss for each --backend (all, without the option).
    What the suite does with its own tasks it does with yours: run, fit, baseline, compare. docs/own-tasks.md has the
    rules.

    Examples:
    `diffprog new wine`

    `diffprog new wine --backend torch,jax`
    """
    asked = names(backend)
    plan.check_names("backend", asked, BACKENDS)
    making.check(name, (*tasks.NAMES, *(point.name for point in models.installed())))
    backends = [one for one in BACKENDS if asked is None or one in asked]
    written = making.write(name, backends)
    where = making.shown(name)
    say(f"{name}: {', '.join(path.name for path in written)}")
    say("Next:")
    say(f"  diffprog run --task {where}")
    say(f"  diffprog fit {where}")
