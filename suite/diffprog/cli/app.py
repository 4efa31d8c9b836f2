"""The commands of ``diffprog``, put together: each has a file of its own here."""

from __future__ import annotations

import typer

from diffprog.cli import baseline
from diffprog.cli.bridge import bridge
from diffprog.cli.compare import compare
from diffprog.cli.doctor import doctor
from diffprog.cli.fit import fit
from diffprog.cli.list import list_
from diffprog.cli.new import new
from diffprog.cli.precision import precision
from diffprog.cli.report import report
from diffprog.cli.run import run
from diffprog.cli.setup_julia import setup_julia

app = typer.Typer(
    help="For the same physics, do PyTorch, JAX and Julia give the same gradient, and what does it cost?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
app.add_typer(baseline.app, name="baseline")
app.command()(run)
app.command()(fit)
app.command()(new)
app.command()(compare)
app.command()(bridge)
app.command("list")(list_)
app.command()(report)
app.command()(precision)
app.command()(doctor)
app.command("setup-julia")(setup_julia)
