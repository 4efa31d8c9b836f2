"""The command line called within the test's process, and all options of all commands."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from diffprog.cli import app
from diffprog.cli.guard import guarded


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def call(*arguments: str) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = guarded(arguments)
    return Done(code, out.getvalue(), err.getvalue())


def refused(done: Done) -> str:
    """Asserts one clear sentence on standard error, exit code 2 and nothing else; returns the sentence."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("diffprog: ")
    return lines[0]


NEEDED = {
    "fit": ("qcbm",), "new": ("qcbm",), "precision": ("flow",), "report": ("nowhere",),
    "compare": ("nowhere", "elsewhere"),
}  # fmt: skip
"""The arguments that commands cannot do without."""


@dataclass(frozen=True)
class Option:
    """An option of a command, as it is declared."""

    command: tuple[str, ...]
    flag: str
    kind: type
    info: Any

    def __str__(self) -> str:
        return f"{'-'.join(self.command)}{self.flag}"

    def given(self, text: str) -> list[str]:
        """A command line that gives it; the text is one argument with the flag, whatever it begins with."""
        return [*self.command, *NEEDED.get(self.command[0], ()), f"{self.flag}={text}"]


def _commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    groups: Sequence[tuple[tuple[str, ...], Any]] = [((), app.app)]
    groups = [*groups, *(((str(g.name),), g.typer_instance) for g in app.app.registered_groups)]
    for before, group in groups:
        for command in group.registered_commands:
            yield (*before, command.name or command.callback.__name__), command.callback


COMMANDS = tuple(name for name, _ in _commands())


def options() -> list[Option]:
    """Every option of every command."""
    found = []
    for command, function in _commands():
        for name, hint in get_type_hints(function, include_extras=True).items():
            info = next((one for one in getattr(hint, "__metadata__", ()) if type(one).__name__ == "OptionInfo"), None)
            if info is None:
                continue
            kinds = [kind for kind in get_args(hint)[:1] for kind in (get_args(kind) or (kind,))]
            kind = next(kind for kind in kinds if kind is not type(None))
            kind = str if getattr(kind, "__origin__", None) is list else kind
            declared = [text for text in (info.default, *(info.param_decls or ())) if isinstance(text, str)]
            flag = next((text for text in declared if text.startswith("--")), "")
            found.append(Option(command, (flag or f"--{name.replace('_', '-')}").split("/")[0], kind, info))
    return found
