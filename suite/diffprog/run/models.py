"""Where the users' models of a report folder lie, so that its report finds their names and pictures again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from diffprog import tasks
from diffprog.errors import UsageError
from diffprog.models import loading
from diffprog.run import files

FILE = "models.json"


class Home(msgspec.Struct, frozen=True):
    """Where a model lay when it was run."""

    folder: str
    source: str
    """The hash of its files then; see `loading.source_hash`."""


def note(folder: Path, names: Iterable[str]) -> None:
    """Notes in a report folder where the models among the tasks of these names lie; other tasks are nobody's.

    Raises:
        UsageError: if it cannot be written.
    """
    found = {
        name: Home(str(home), loading.source_hash(home))
        for name in names
        if (home := tasks.get(name).folder) is not None
    }
    if not found:
        return
    text = msgspec.json.format(msgspec.json.encode(read(folder) | found), indent=1).decode()
    try:
        files.write_atomically(folder / FILE, text + "\n")
    except OSError as error:
        raise UsageError(f"cannot write {folder / FILE} ({error})") from error


def read(folder: Path) -> dict[str, Home]:
    """What was noted in a report folder, by task; nothing where that is missing or damaged."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=dict[str, Home])
    except (OSError, msgspec.DecodeError):
        return {}


def recall(folder: Path) -> list[str]:
    """Makes the models of a report folder known to this process, and says what is no longer as it was.

    May be called again and again.
    """
    told = []
    for name, home in read(folder).items():
        where = Path(home.folder)
        try:
            if not where.is_dir():
                raise UsageError(f"its folder {where} is gone")
            tasks.add(where)
        except UsageError as error:
            told.append(f"Without the names of parameters and the pictures of {name}: {error}.")
            continue
        if loading.source_hash(where) != home.source:
            told.append(f"The files of {name} in {where} are others now than when it was run.")
    return told


def held(folder: Path) -> tuple[str, ...]:
    """The tasks that are users' models in a report folder, known from now on.

    Raises:
        UsageError: if one is not there any more.
    """
    found = read(folder)
    for home in found.values():
        tasks.add(Path(home.folder))
    return tuple(found)
