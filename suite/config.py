"""The settings file: ``diffprog.toml`` in the working folder, or the one that ``--config`` names."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from suite.errors import UsageError

FILE = "diffprog.toml"


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
    if path is None:
        path = Path(FILE)
        if not path.exists():
            return Config()
    try:
        told = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read the settings file {path} ({error})") from error
    julia = told.pop("julia", {})
    known = {"executable", "project"}
    if (
        told
        or not isinstance(julia, dict)
        or not set(julia) <= known
        or not all(isinstance(v, str) for v in julia.values())
    ):
        raise UsageError(f"{path}: the settings are [julia] executable and project, both texts; it has others")
    return Config(julia.get("executable"), julia.get("project"))
