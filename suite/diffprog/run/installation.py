"""The installations of the suite that are measured in turn: how their workers are started, and what they are."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from diffprog.backends import find_julia
from diffprog.errors import UsageError
from diffprog.records import protocol
from diffprog.run import environment, variables
from diffprog.version import __version__

_LOAD = """
import importlib.util, runpy, sys
home, module = sys.argv[1:3]
spec = importlib.util.spec_from_file_location("diffprog", home + "/__init__.py", submodule_search_locations=[home])
diffprog = sys.modules["diffprog"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(diffprog)
sys.argv = [module, *sys.argv[3:]]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
"""Runs a module of the suite in one folder and no other: whatever is on Python's path, installed or lying about."""
_ASK = """
import json, pathlib, platform, sys
import diffprog
from diffprog.records import protocol
print(json.dumps({
    "home": str(pathlib.Path(diffprog.__file__).resolve().parent),
    "suite": diffprog.__version__,
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
        home: the folder ``diffprog/`` itself, which its workers load whatever else their Python finds.
        version: of the suite.
        python: the version of its Python.
    """

    executable: str
    home: Path
    version: str
    python: str

    @property
    def command(self) -> tuple[str, ...]:
        """Starts a worker."""
        return self.runs("diffprog.worker.serve")

    def runs(self, module: str) -> tuple[str, ...]:
        """Runs a module of this very suite. -P: nothing is imported from the folder that the run is started in."""
        return self.executable, "-P", "-c", _LOAD, str(self.home), module

    @property
    def commit(self) -> str:
        return environment.commit(self.home)

    def source(self, task: str) -> str:
        """The hash of a task's source files."""
        return environment.source_hash(task, self.home)

    def code(self) -> str:
        """The hash of the suite's other files."""
        return environment.code_hash(self.home)

    def environment(self, env: dict[str, str]) -> dict[str, str]:
        """A worker's environment with this installation's Julia package instead of the parent's."""
        found = dict(env)
        if "JULIA_LOAD_PATH" in env:
            swap = {str(find_julia.package_folder()): str(find_julia.package_folder(self.home))}
            parts = env["JULIA_LOAD_PATH"].split(os.pathsep)
            found["JULIA_LOAD_PATH"] = os.pathsep.join(swap.get(part, part) for part in parts)
            if self.home != environment.ROOT:
                found |= find_julia.depots(find_julia.package_folder(self.home), env)
        return found


def this() -> Installation:
    """The installation that runs now."""
    return Installation(sys.executable, environment.ROOT, __version__, platform.python_version())


def find(where: str) -> Installation:
    """The installation at ``where``: a Python that has the suite, or a folder with ``suite/diffprog/`` for this one.

    Raises:
        UsageError: if there is none, it speaks another protocol, or it is this very one.
    """
    folder = Path(where)
    home = None
    if (folder / "suite" / "diffprog" / "__init__.py").is_file():
        python, home = sys.executable, (folder / "suite" / "diffprog").resolve()
    else:
        found = shutil.which(where)
        if found is None:
            raise UsageError(f"{where!r} is neither a Python executable nor a folder that holds suite/diffprog/")
        python = str(Path(found).absolute())  # not resolved: a virtual environment is a link
    answer = _ask(where, python, home)
    if told := protocol.mismatch(protocol.VERSION, answer.protocol):
        raise UsageError(f"the suite of {where} cannot be measured beside this one: {told}")
    home = Path(answer.home)
    if home == environment.ROOT.resolve() and answer.prefix == sys.prefix:
        raise UsageError(f"{where} leads to this very suite in this very Python: there is nothing to compare")
    return Installation(python, home, answer.suite, answer.python)


def _ask(where: str, python: str, home: Path | None) -> _Answer:
    """What the suite in ``home``, or the one that this Python has installed, says of itself."""
    code, arguments = (_ASK, []) if home is None else (_LOAD.rsplit("sys.argv =", 1)[0] + _ASK, [str(home), ""])
    env = variables.environment("float64", "cpu", 1, None)
    try:
        done = subprocess.run(
            [python, "-P", "-c", code, *arguments],
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
