"""The options that commands share, each checked as it is read: names, numbers and paths that make no sense are refused.

What is refused raises UsageError, before anything is started or written.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from diffprog import config
from diffprog.errors import UsageError
from diffprog.plain import on_one_line
from diffprog.run import environment

YEAR = 31_536_000.0
"""Seconds: the most that any limit may be. Timers overflow not far beyond."""
MOST_SAMPLES = 1_000_000
MOST_SEED = 2**63 - 1
"""What tables and other languages can hold."""
MOST_GIB = 2.0**30
_DEEPEST = Path("arrays", "x" * 120, "x" * 120 + ".partial.npz")
"""As long as what the suite writes within a report folder can get."""


def finite(param: typer.CallbackParam, number: float | None) -> float | None:
    """The number, unless it is not one: NaN is within any range."""
    if number is not None and not math.isfinite(number):
        raise UsageError(f"{param.opts[0]} is a finite number, not {number}")
    return number


def given(param: typer.CallbackParam, asked: Any) -> Any:
    """What was asked for, one text or several, unless there is nothing in it: that does not mean everything."""
    for text in [asked] if isinstance(asked, str) else asked or ():
        if not text.strip(" \t,"):
            raise UsageError(f"{param.opts[0]} {text!r} names nothing: leave the option out for the default")
    return asked


def threads(asked: int) -> int:
    """A number of threads that this process can really have."""
    there = environment.cores()
    if asked > there:
        raise UsageError(f"--threads {asked}: this process may use {there} processors")
    return asked


def path(told: str | Path) -> Path:
    """A path that can be looked up and shown; it need not be there."""
    text = str(told)
    if not text.strip():
        raise UsageError("the name of a file or folder is empty")
    if on_one_line(text) != text:
        raise UsageError(
            f"'{on_one_line(text[:200])}' cannot be the name of a file or folder here: "
            "it has bytes that are no UTF-8, or characters that cannot be shown"
        )
    try:
        Path(text).stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        raise UsageError(f"{text[:200]} cannot be looked up ({_why(error)})") from None
    return Path(text)


def folder(told: str | Path) -> Path:
    """A folder to write into, which need not be there, with names short enough for what will be in it."""
    found = path(told)
    if found.exists() and not found.is_dir():
        raise UsageError(f"{found} is a file, not a folder: choose another with --out")
    try:
        (found / _DEEPEST).stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise UsageError(f"{str(found)[:200]} cannot be a report folder ({_why(error)})") from None
    return found


def text_file(told: str | Path) -> Path:
    """A file to write a text to, or ``-``: in a folder that is there, so that it does not fail after hours."""
    found = path(told)
    if found.is_dir():
        raise UsageError(f"{found} is a folder, not a file")
    if not os.access(found if found.exists() else found.parent, os.W_OK) and found != Path("-"):
        raise UsageError(f"{found} cannot be written: its folder is not there, or may not be written to")
    return found


def _why(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)


Names = Annotated[list[str] | None, typer.Option(metavar="NAME,…", callback=given)]
Folder = Annotated[Path, typer.Argument(parser=path, metavar="FOLDER", help="The report folder of a run.")]
Require = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME,…", callback=given, help="Backends that must be there: without one, exit 1."),
]
Threads = Annotated[
    int,
    typer.Option(
        min=1, max=2**20, callback=threads,
        help="Threads of every backend; on Linux also the processors it may use.",
    ),
]  # fmt: skip
Seconds = Annotated[
    float, typer.Option(min=0, max=YEAR, callback=finite, help="About how long to sample a cell or point, s.")
]
TimeLimit = Annotated[
    float, typer.Option(min=0.1, max=YEAR, callback=finite, help="Longest that one cell, point or step may take, s.")
]
JuliaExe = Annotated[
    str | None,
    typer.Option(metavar="FILE", callback=given, help="A Julia executable; goes with --julia-project."),
]
JuliaProject = Annotated[
    str | None,
    typer.Option(metavar="FOLDER", callback=given, help="The Julia environment that holds the packages."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", parser=path, metavar="FILE", help=f"A settings file [default: {config.FILE}, if any]."),
]


def out_folder(default: str) -> Any:
    """The option ``--out``; ``default`` says where to without it."""
    return typer.Option("--out", parser=folder, metavar="FOLDER", help=f"The report folder [default: {default}].")


def markdown_file(text: str) -> Any:
    """The option ``--markdown``."""
    return typer.Option("--markdown", parser=text_file, metavar="FILE", help=text)
