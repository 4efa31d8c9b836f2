"""The installations of the suite that are measured in turn: how their workers are started, and what they are."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import site
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

import suite
from suite.backends import find_julia
from suite.errors import UsageError
from suite.measure import environment, protocol

_ASK = """
import json, pathlib, platform, sys
import suite
from suite.measure import protocol
print(json.dumps({
    "home": str(pathlib.Path(suite.__file__).resolve().parent),
    "suite": suite.__version__,
    "protocol": getattr(protocol, "VERSION", 0),
    "prefix": sys.prefix,
    "python": platform.python_version(),
}))
"""
"""Asks for no more than what every version of the suite can tell; the rest is read from its folder."""
_PATIENCE = 120.0
"""Seconds that the other installation may take to answer."""


class _Answer(msgspec.Struct):
    home: str
    suite: str
    protocol: int
    prefix: str
    python: str


@dataclass(frozen=True)
class Installation:
    """One installation of the suite.

    Attributes:
        executable: its Python.
        path: what its workers have first on Python's path; empty where that Python finds the suite anyway.
        home: the folder ``suite/`` itself.
        version: of the suite.
        python: the version of its Python.
    """

    executable: str
    path: str
    home: Path
    version: str
    python: str

    @property
    def command(self) -> tuple[str, ...]:
        """Starts a worker. -P: the suite is this one's, whatever the folder that the run is started in has."""
        return self.executable, "-P", "-m", "suite.measure.worker"

    @property
    def commit(self) -> str:
        return environment.commit(self.home)

    def source(self, task: str) -> str:
        """The hash of a task's source files."""
        return environment.source_hash(task, self.home)

    def environment(self, env: dict[str, str]) -> dict[str, str]:
        """A worker's environment with this installation's suite and Julia package instead of the parent's."""
        found = _with_path(env, self.path)
        if "JULIA_LOAD_PATH" in env:
            swap = {str(find_julia.package_folder()): str(find_julia.package_folder(self.home))}
            parts = env["JULIA_LOAD_PATH"].split(os.pathsep)
            found["JULIA_LOAD_PATH"] = os.pathsep.join(swap.get(part, part) for part in parts)
            if self.home != environment.ROOT:
                found["JULIA_DEPOT_PATH"] = _depots_of(self.home, env)
        return found


def _depots_of(home: Path, env: dict[str, str]) -> str:
    """Julia's depots with one before them that only the suite at ``home`` writes: Julia keeps one compiled
    DiffProgTasks for an environment, and two installations would drive each other's out.
    """
    user = Path.home() / ".julia"
    depots = env.get("JULIA_DEPOT_PATH") or os.pathsep.join([str(user), ""])  # an empty one: those that Julia brings
    first = Path(depots.split(os.pathsep)[0] or user)
    own = first / "diffprog" / hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return os.pathsep.join([str(own), depots])


def this() -> Installation:
    """The installation that runs now."""
    root = environment.ROOT.parent
    found_anyway = str(root) in (*site.getsitepackages(), site.getusersitepackages())
    path = "" if found_anyway else str(root)
    return Installation(sys.executable, path, environment.ROOT, suite.__version__, platform.python_version())


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
        if found is None:
            raise UsageError(f"{where!r} is neither a Python executable nor a folder that holds suite/")
        python, path = str(Path(found).absolute()), ""  # not resolved: a virtual environment is a link
    answer = _ask(where, python, path)
    if told := protocol.mismatch(protocol.VERSION, answer.protocol):
        raise UsageError(f"the suite of {where} cannot be measured beside this one: {told}")
    home = Path(answer.home)
    if home == environment.ROOT.resolve() and answer.prefix == sys.prefix:
        raise UsageError(f"{where} leads to this very suite in this very Python: there is nothing to compare")
    if path and home.parent != Path(path):
        raise UsageError(f"the suite of {where} is hidden by the one in {home.parent}")
    return Installation(python, path, home, answer.suite, answer.python)


def _ask(where: str, python: str, path: str) -> _Answer:
    env = _with_path(dict(os.environ), path)
    try:
        done = subprocess.run(
            [python, "-P", "-c", _ASK],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=env,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise UsageError(f"there is no suite to be had from {where} ({error})") from error
    lines = {name: text.strip().splitlines() for name, text in (("out", done.stdout), ("err", done.stderr))}
    if done.returncode:
        raise UsageError(f"there is no suite to be had from {where} ({(lines['err'] or ['no message'])[-1]})")
    try:
        return msgspec.json.decode((lines["out"] or [""])[-1], type=_Answer)
    except msgspec.DecodeError as error:
        raise UsageError(f"{where} does not say what suite it has ({error})") from error


def _with_path(env: dict[str, str], path: str) -> dict[str, str]:
    """``path`` before what is on Python's path already; the parent's own suite is taken off it."""
    own = environment.ROOT.parent.resolve()
    rest = [part for part in env.get("PYTHONPATH", "").split(os.pathsep) if part and Path(part).resolve() != own]
    found = {name: value for name, value in env.items() if name != "PYTHONPATH"}
    parts = [path, *rest] if path else rest
    return found | {"PYTHONPATH": os.pathsep.join(parts)} if parts else found
