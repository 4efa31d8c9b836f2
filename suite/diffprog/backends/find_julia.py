"""Which Julia to use, settled in the parent before any worker starts; juliacall itself is not imported here.

Three ways, in this order: an explicit setting; a ``julia`` on the PATH whose default environment already holds the
packages; and juliapkg, which downloads both but only when asked to (``diffprog setup-julia``).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from diffprog.errors import UsageError

OLDEST = (1, 10)
SETUP = "diffprog setup-julia"
EXE, PROJECT = "PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT"
DEPOTS = "JULIA_DEPOT_PATH"
SIGNALS = "PYTHON_JULIACALL_HANDLE_SIGNALS"
"""Julia's threads stop each other by SIGSEGV: without "yes" it can have one thread only. Python then loses Ctrl-C."""

_OWN = re.compile(r"/diffprog/[0-9a-f]{12}$")
"""What the depot of one package ends with."""


@dataclass(frozen=True)
class Julia:
    """A Julia that can run the tasks."""

    executable: str
    project: str
    """The folder of the environment that holds PythonCall and the packages of ``julia/Project.toml``."""
    version: str
    route: str
    precompiled: bool

    def environment(self, folder: Path | None = None) -> dict[str, str]:
        """What a process needs in its environment so that juliacall takes this Julia and finds DiffProgTasks.

        Args:
            folder: of a user's model: where it has a Project.toml, Julia finds the packages that this names, too.
        """
        own = [str(folder)] if folder is not None and (folder / "Project.toml").is_file() else []
        return {
            EXE: self.executable,
            PROJECT: self.project,
            "JULIA_LOAD_PATH": os.pathsep.join(["@", str(package_folder()), *own, "@v#.#", "@stdlib"]),
            "JULIA_CONDAPKG_BACKEND": "Null",  # this Python is the one to use, as it is
            SIGNALS: "no",
            **depots(package_folder()),
        }


@dataclass
class Search:
    """What was found, and why the other ways were not taken."""

    julia: Julia | None = None
    attempts: list[str] = field(default_factory=list)
    mend: str = ""

    @property
    def reason(self) -> str:
        return "; ".join(self.attempts)


def package_folder(home: Path = Path(__file__).parents[1]) -> Path:
    """The folder of the Julia package DiffProgTasks: inside the installed wheel, or beside ``suite/`` in a clone.

    Args:
        home: the folder ``diffprog/`` of the installation.
    """
    inside = home / "julia"
    return inside if (inside / "Project.toml").exists() else home.parents[1] / "julia"


def depots(package: Path, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The depots of a process that uses the Julia package in the folder ``package``: JULIA_DEPOT_PATH, if it is set.

    Before the user's own there is one that only this package is compiled into. Julia keeps one compiled DiffProgTasks
    for an environment, and two checkouts would drive each other's out. It is within the user's first depot; in the
    user's cache where that cannot be written.

    Args:
        env: the variables to go by; those of this process, if None.
    """
    env = os.environ if env is None else env
    given = [entry for entry in env.get(DEPOTS, "").split(os.pathsep) if not _OWN.search(entry)]
    home = _home(env)
    if not any(given):  # an empty one stands for those that come with Julia
        given = [str(home / ".julia"), ""] if home else [""]
    first = next((Path(_expanded(entry, home)) for entry in given if entry), None)
    cache = Path(env["XDG_CACHE_HOME"]) if env.get("XDG_CACHE_HOME") else home and home / ".cache"
    for folder in (first, cache):
        if folder is not None and folder.is_absolute() and _can_be_made(folder):
            own = folder / "diffprog" / hashlib.sha256(str(package.parent).encode()).hexdigest()[:12]
            return {DEPOTS: os.pathsep.join([str(own), *given])}
    return {DEPOTS: env[DEPOTS]} if env.get(DEPOTS) else {}


def _home(env: Mapping[str, str]) -> Path | None:
    """The user's folder, as Julia finds it; there may be none, in a container."""
    if env.get("HOME"):
        return Path(env["HOME"])
    found = os.path.expanduser("~")  # noqa: PTH111 - Path.expanduser raises where there is none
    return None if found == "~" else Path(found)


def _expanded(path: str, home: Path | None) -> str:
    """A path as Julia reads it in a variable: with ~ for the user's folder."""
    return str(home) + path[1:] if home is not None and (path == "~" or path.startswith("~/")) else path


def _can_be_made(folder: Path) -> bool:
    """Whether there is such a folder that can be written, or Julia could make it, with those above it."""
    there = next(one for one in (folder, *folder.parents) if one.exists() or one == one.parent)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def requirements() -> tuple[str, ...]:
    """The registered packages that the environment must hold."""
    project = tomllib.loads((package_folder() / "Project.toml").read_text(encoding="utf-8"))
    return ("PythonCall", *project["deps"])


def find(executable: str | None = None, project: str | None = None) -> Search:
    """Looks for a usable Julia; nothing is downloaded.

    Args:
        executable: an explicit Julia, before any environment variable.
        project: the environment that goes with it.

    Raises:
        UsageError: if a setting points nowhere, or at a Julia that is too old or lacks the packages.
    """
    _check_variables()
    source = "options"
    if executable is None and project is None:
        executable, project, source = os.environ.get(EXE), os.environ.get(PROJECT), f"{EXE} and {PROJECT}"
    chosen = _chosen(executable, project, source) if executable or project else None
    if importlib.util.find_spec("juliacall") is None:
        return Search(None, ["juliacall is not installed"], "python -m pip install juliacall")
    if chosen is not None:
        julia, problem = _probe(*chosen, f"set explicitly ({source})")
        if julia is None:
            raise UsageError(f"the Julia set explicitly ({source}) cannot be used: {problem}")
        return Search(julia)
    search = Search(attempts=["no Julia is set explicitly"])
    search.julia = _on_path(search) or _juliapkg(search)
    if search.julia is None:
        search.mend = SETUP
    return search


def _chosen(executable: str | None, project: str | None, source: str) -> tuple[str, str]:
    """The explicit setting, if both halves of it exist."""
    if not executable or not project:
        raise UsageError(f"a Julia executable and its environment must be set together ({source}); only one of them is")
    home = _home(os.environ)
    project = _expanded(project, home)
    found = shutil.which(_expanded(executable, home))
    if found is None:
        raise UsageError(f"the Julia executable {executable!r} ({source}) does not exist or cannot be run")
    if not Path(project).is_dir():
        raise UsageError(f"the Julia environment {project!r} ({source}) is not a folder")
    return found, project


def _on_path(search: Search) -> Julia | None:
    found = shutil.which("julia")
    if found is None:
        search.attempts.append("there is no julia on the PATH")
        return None
    julia, problem = _probe(found, None, "on the PATH")
    if julia is None:
        search.attempts.append(f"{found} on the PATH was passed over: {problem}")
    return julia


def _juliapkg(search: Search) -> Julia | None:
    try:
        import juliapkg

        ready = juliapkg.resolve(dry_run=True)
    except Exception as error:  # juliapkg raises bare Exceptions for settings it cannot use
        search.attempts.append(f"juliapkg cannot be used ({error})")
        return None
    if not ready:
        search.attempts.append("juliapkg has not been asked to install one")
        return None
    julia, problem = _probe(juliapkg.executable(), juliapkg.project(), "installed by juliapkg")
    if julia is None:
        search.attempts.append(f"the Julia that juliapkg installed cannot be used: {problem}")
    return julia


_PROBE = """
import TOML
project = isempty(ARGS[1]) ? dirname(something(Base.load_path_expand("@v#.#"), "")) : ARGS[1]
missing_packages, pythoncall = String[], ""
for name in split(ARGS[2], ',')
    id = Base.identify_package(String(name))
    path = id === nothing ? nothing : Base.locate_package(id)
    path === nothing && push!(missing_packages, name)
    if name == "PythonCall" && path !== nothing
        global pythoncall = get(TOML.parsefile(joinpath(dirname(dirname(path)), "Project.toml")), "version", "")
    end
end
id = Base.identify_package("DiffProgTasks")
ready = id !== nothing && isempty(missing_packages) && Base.isprecompiled(id)
foreach(println, (VERSION, joinpath(Sys.BINDIR, Base.julia_exename()), project, pythoncall, ready))
println(join(missing_packages, ','))
"""


def _probe(executable: str, project: str | None, route: str) -> tuple[Julia | None, str]:
    key = (executable, project or "", depots(package_folder()).get(DEPOTS, ""))
    answer, problem = _ask(*key)
    if answer is None:
        return None, problem
    version, real, folder, pythoncall, ready, lacking = answer
    if tuple(int(part) for part in version.split("-")[0].split(".")[:2]) < OLDEST:
        return None, f"Julia {version} is too old; {OLDEST[0]}.{OLDEST[1]} or later is needed"
    if lacking:
        return None, f"its environment {folder} lacks {', '.join(lacking.split(','))}"
    juliacall = importlib.metadata.version("juliacall")
    if pythoncall != juliacall:
        return None, f"its environment {folder} has PythonCall {pythoncall}, but juliacall here is {juliacall}"
    return Julia(real, folder, version, route, ready == "true"), ""


@cache
def _ask(executable: str, project: str, depot: str) -> tuple[tuple[str, ...] | None, str]:
    """Asks a Julia about itself, once a process."""
    command = [executable, "--startup-file=no", "-e", _PROBE, project, ",".join(requirements())]
    if project:
        command.insert(1, f"--project={project}")
    load_path = os.pathsep.join(["@", str(package_folder()), "@v#.#", "@stdlib"])
    environment = {k: v for k, v in os.environ.items() if k != "JULIA_PROJECT"} | {"JULIA_LOAD_PATH": load_path}
    if depot:
        environment[DEPOTS] = depot
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=120, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"{executable} does not start ({error})"
    if done.returncode != 0 or done.stdout.count("\n") < 6:
        last = (done.stderr.strip().splitlines() or ["no message"])[0]
        return None, f"{executable} does not start ({last})"
    return tuple(done.stdout.split("\n")[:6]), ""


def _check_variables() -> None:
    """A variable that points nowhere is a mistake to be told, not to be worked around."""
    home = _home(os.environ)
    for name in ("JULIA_PROJECT", "JULIA_BINDIR"):
        value = _expanded(os.environ.get(name, ""), home)
        if value and not value.startswith("@") and not Path(value).exists():
            raise UsageError(f"{name}={value} points nowhere")
    depot = _expanded(os.environ.get(DEPOTS, "").split(os.pathsep)[0], home)
    if depot and not depot.startswith("~") and not Path(depot).is_dir() and not _can_be_made(Path(depot).absolute()):
        raise UsageError(f"{DEPOTS}={depot} points nowhere, and cannot be made")


def provenance(julia: Julia) -> str:
    """Which Julia, by which way, and the hash of the manifest that fixes its packages."""
    manifests = sorted(Path(julia.project).glob("*Manifest*.toml"))
    digest = hashlib.sha256(manifests[0].read_bytes()).hexdigest()[:16] if manifests else "none"
    return json.dumps({"version": julia.version, "route": julia.route, "manifest": digest})
