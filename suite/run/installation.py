"""Another installation of the suite on this machine: how its workers are started, and what it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from suite import tasks
from suite.errors import UsageError
from suite.measure import protocol

_ASK = """
import json, platform
import suite
from suite import tasks
from suite.backends import find_julia
from suite.measure import environment, protocol
print(json.dumps({
    "suite": suite.__version__,
    "home": str(environment.ROOT),
    "commit": environment.commit(),
    "sources": {name: environment.source_hash(name) for name in tasks.NAMES},
    "python": platform.python_version(),
    "julia": str(find_julia.package_folder()),
    "protocol": getattr(protocol, "VERSION", 0),
}))
"""


class _Answer(msgspec.Struct):
    suite: str
    home: str
    commit: str
    sources: dict[str, str]
    python: str
    julia: str
    protocol: int


@dataclass(frozen=True)
class Installation:
    """An installation: its ``command`` for workers, and what it said of itself."""

    command: tuple[str, ...]
    path: str
    """What is first on Python's path; empty where its Python finds it anyway."""
    suite: str
    home: str
    commit: str
    sources: dict[str, str]
    """The hash of each task's source files."""
    python: str
    julia: str
    """The folder of its Julia package."""

    def environment(self, env: dict[str, str]) -> dict[str, str]:
        """A worker's environment, with this installation's suite and Julia package instead of ours."""
        found = _with_path(env, self.path)
        if "JULIA_LOAD_PATH" in env:
            from suite.backends import find_julia

            ours = str(find_julia.package_folder())
            parts = env["JULIA_LOAD_PATH"].split(os.pathsep)
            found["JULIA_LOAD_PATH"] = os.pathsep.join(self.julia if part == ours else part for part in parts)
        return found


def find(where: str) -> Installation:
    """The installation at ``where``: a Python that has the suite, or a folder with ``suite/`` in it, for this Python.

    Raises:
        UsageError: if there is none, it speaks another protocol, or it is this very one.
    """
    folder = Path(where)
    if (folder / "suite" / "__init__.py").is_file():
        python, path = sys.executable, str(folder.resolve())
    else:
        found = shutil.which(where)
        if found is None or folder.is_dir():
            raise UsageError(f"{where!r} is neither a Python executable nor a folder that holds suite/")
        python, path = found, ""
    # -P: not the suite of the folder that this is called from
    done = subprocess.run(
        [python, "-P", "-c", _ASK], capture_output=True, text=True, env=_with_path(dict(os.environ), path), check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UsageError(f"there is no suite to be had from {where} ({last})")
    try:
        answer = msgspec.json.decode(done.stdout, type=_Answer)
    except msgspec.DecodeError as error:
        raise UsageError(f"the suite of {where} does not say what it is ({error})") from error
    if told := protocol.mismatch(protocol.VERSION, answer.protocol):
        raise UsageError(f"the suite of {where} cannot be measured beside this one: {told}")
    if Path(answer.home) == Path(tasks.__file__).parents[1]:
        raise UsageError(f"{where} leads to this very suite: there is nothing to compare")
    return Installation(
        (python, "-P", "-m", "suite.measure.worker"), path, answer.suite, answer.home, answer.commit, answer.sources,
        answer.python, answer.julia,
    )  # fmt: skip


def _with_path(env: dict[str, str], path: str) -> dict[str, str]:
    found = {name: value for name, value in env.items() if name != "PYTHONPATH"}
    return found | {"PYTHONPATH": path} if path else found
