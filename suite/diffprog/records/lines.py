"""Files of one line of JSON an entry, appended and synced as entries come: a stopped run keeps all it measured."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from diffprog.errors import UsageError

Line = TypeVar("Line", bound=msgspec.Struct)


class Lines(Generic[Line]):
    """An append-only file, one line of JSON an entry. A line is whole or absent: a failed write is undone.

    Args:
        path: the file.
        kind: what a line holds; it has a field ``schema``.
        name: an entry's name; of entries with one name the last one counts.
        schema: the version that is read; runs and fits have each their own.

    Raises:
        UsageError: from ``append``, if the disk is full or the file cannot be written; what was there stays.
    """

    def __init__(self, path: Path, kind: type[Line], name: Callable[[Line], str], schema: int) -> None:
        self.path = path
        self._name, self._schema = name, schema
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(kind)

    def append(self, entry: Line) -> None:
        line = self._encoder.encode(entry) + b"\n"
        before = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("ab", buffering=0) as file:
                written = file.write(line)
                if written != len(line):
                    raise OSError("only part of the record could be written")
                os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):  # failing that, the reader sets a torn last line aside
                os.truncate(self.path, before)
            raise UsageError(
                f"cannot write to {self.path} ({error}); the {before} bytes of earlier records are kept; "
                "free some room and go on with --resume"
            ) from error

    def read(self, *, mend: bool = False) -> list[Line]:
        """All entries, the last one of each name winning, in order of first appearance.

        With ``mend``, a torn last line (a run killed while writing it) is moved to a file ``….torn`` beside it.

        Raises:
            UsageError: if the file is unreadable, or a line is truncated, damaged, or of another schema version.
        """
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            raise UsageError(f"{self.path.parent} holds no {self.path.name}: it is not the folder of a run") from None
        except OSError as error:
            raise UsageError(f"cannot read {self.path}: {error}") from error
        whole, torn = text[: text.rfind(b"\n") + 1], text[text.rfind(b"\n") + 1 :]
        if torn and not mend:
            raise UsageError(
                f"{self.path} ends in a truncated line (the run was stopped while writing it); "
                "`diffprog run … --resume` sets that line aside and completes the run"
            )
        entries = [self._decode(number, line) for number, line in enumerate(whole.splitlines(), 1) if line.strip()]
        if torn:
            try:
                self.path.with_name(self.path.name + ".torn").write_bytes(torn)
                os.truncate(self.path, len(whole))
            except OSError as error:
                raise UsageError(f"cannot mend {self.path}: {error}") from error
        latest: dict[str, Line] = {}
        for entry in entries:
            latest[self._name(entry)] = entry
        return list(latest.values())

    def set_aside(self, entries: Sequence[Line], kept: Sequence[Line]) -> Path:
        """Moves entries to a file beside this one, which is left with those that are kept. Returns that file's path.

        Raises:
            UsageError: if either cannot be written; then nothing is lost.
        """
        aside = self.path.with_name(f"{self.path.stem}-set-aside{self.path.suffix}")
        draft = self.path.with_name(self.path.name + ".partial")
        try:
            with aside.open("ab") as file:
                file.write(b"".join(self._encoder.encode(entry) + b"\n" for entry in entries))
                file.flush()
                os.fsync(file.fileno())
            draft.write_bytes(b"".join(self._encoder.encode(entry) + b"\n" for entry in kept))
            draft.replace(self.path)
        except OSError as error:
            raise UsageError(f"cannot write {aside} ({error}); the records are as they were") from error
        return aside

    def _decode(self, number: int, line: bytes) -> Line:
        try:
            schema = msgspec.json.decode(line, type=_Version).schema
            if schema == self._schema:
                return self._decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{self.path}, line {number}: not a record ({error})") from error
        raise UsageError(
            f"{self.path}, line {number}: schema version {schema}; this suite reads version {self._schema}"
        )


class _Version(msgspec.Struct):
    schema: int
