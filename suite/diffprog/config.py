"""The settings file: ``diffprog.toml`` in the working folder, or the one that ``--config`` names."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from diffprog.errors import UsageError

FILE = "diffprog.toml"
_KNOWN = ("executable", "project")


@dataclass(frozen=True)
class Config:
    """``[julia] executable`` and ``project``: which Julia to use, and with which environment."""

    julia_executable: str | None = None
    julia_project: str | None = None


def read(path: Path | None) -> Config:
    """The settings in ``path``; without one, those in ``diffprog.toml`` here, if there is such a file.

    Raises:
        UsageError: if the file cannot be read or says something that is not a setting.
    """
    try:
        if path is None:
            path = Path(FILE)
            if not path.exists():
                return Config()
            if not path.is_file():
                raise UsageError(f"cannot read the settings file {path} (it is no file)")
        told = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read the settings file {path} ({error})") from error
    julia = told.pop("julia", {})
    right = isinstance(julia, dict) and all(isinstance(text, str) for text in julia.values())
    if told or not right or not set(julia) <= set(_KNOWN):
        raise UsageError(f"{path}: the settings are [julia] executable and project, both texts; it has others")
    for name, text in julia.items():
        if not text.strip() or "\0" in text:
            raise UsageError(f"{path}: [julia] {name} is {text!r}, which is no path")
    return Config(julia.get("executable"), julia.get("project"))
