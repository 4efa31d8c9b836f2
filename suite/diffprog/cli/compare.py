"""The command ``diffprog compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffprog.cli import comment, options
from diffprog.cli.console import names, out
from diffprog.cli.options import Names
from diffprog.run import models, plan
from diffprog.spec import DEVICES, PRECISIONS

if TYPE_CHECKING:
    from diffprog.report.compare.comparison import Comparison

MARKDOWN = "Write Markdown for a pull request; - for stdout."
FAIL_ON = "Exit 1 also for this."


def compare(
    run_a: Annotated[
        Path,
        typer.Argument(parser=options.path, metavar="RUN_A", help="The folder of the run to compare with."),
    ],
    run_b: Annotated[
        Path, typer.Argument(parser=options.path, metavar="RUN_B", help="The folder of the run to judge.")
    ],
    effect: Annotated[
        float,
        typer.Option(min=0, max=10_000, callback=options.finite, help="Least change of a time that counts, per cent."),
    ] = 5.0,
    p: Annotated[
        float,
        typer.Option(
            min=1e-12, max=0.5, callback=options.finite, help="Largest p that counts, adjusted for all tests."
        ),
    ] = 0.05,
    precision: Names = None,
    device: Names = None,
    markdown: Annotated[Path | None, options.markdown_file(MARKDOWN)] = None,
    fail_on: Annotated[list[str] | None, typer.Option(metavar="slower", callback=options.given, help=FAIL_ON)] = None,
) -> None:
    """What changed from one run to another: gradients bit for bit or within tolerance, times by a rank test.

    A gradient is `regressed` where it was ok and is not, or moved by more than its tolerance. A time is `faster` or
    `slower` where the change is significant and larger than --effect, `same` where the whole interval lies within
    it, else `ambiguous`. Times from different machines or numbers of threads get no verdict.

    Exit codes: 0 no gradient regressed; 1 one did, or with --fail-on slower a time did; 2 the runs, or the gradients of
    some of their cells, cannot be compared.

    Examples:
    `diffprog compare reports/before reports/after`

    `diffprog compare reports/before reports/after --markdown comment.md --fail-on slower`
    """
    from diffprog.report.compare import comparison
    from diffprog.report.compare.change import Options

    plan.check_names("precision", names(precision), PRECISIONS)
    plan.check_names("device", names(device), DEVICES)
    plan.check_names("verdict to fail on", names(fail_on), ("slower",))
    for folder in (run_a, run_b):
        models.recall(folder)  # for the names of parameters
    found = comparison.compare(run_a, run_b, Options(effect / 100, p, names(device), names(precision)))
    show(found, markdown)
    raise typer.Exit(found.exit_code(fail_on_slower=fail_on is not None))


def show(found: Comparison, markdown: Path | None) -> None:
    """Prints a comparison, and writes it as Markdown: to standard output, instead, where that is ``-``.

    Raises:
        UsageError: if the file cannot be written.
    """
    from diffprog.report.compare import views as comparison_views

    if not comment.is_standard_output(markdown):
        out.print(comparison_views.terminal(found))
    comment.write(markdown, comparison_views.markdown(found))
