"""Which Julia to use, settled in the parent before any worker starts; juliacall itself is not imported here.

Three ways, in this order: an explicit setting; a ``julia`` on the PATH whose default environment already holds the
packages; and juliapkg, which downloads both but only when asked to (``diffprog setup-julia``).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from suite.errors import UsageError

OLDEST = (1, 10)
SETUP = "diffprog setup-julia"
EXE, PROJECT = "PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT"
SIGNALS = "PYTHON_JULIACALL_HANDLE_SIGNALS"
"""Julia's threads stop each other by SIGSEGV: without "yes" it can have one thread only. Python then loses Ctrl-C."""


@dataclass(frozen=True)
class Julia:
    """A Julia that can run the tasks."""

    executable: str
    project: str
    """The folder of the environment that holds PythonCall and the packages of ``julia/Project.toml``."""
    version: str
    route: str
    precompiled: bool

    def environment(self) -> dict[str, str]:
        """What a process needs in its environment so that juliacall takes this Julia and finds DiffProgTasks."""
        return {
            EXE: self.executable,
            PROJECT: self.project,
            "JULIA_LOAD_PATH": os.pathsep.join(["@", str(package_folder()), "@v#.#", "@stdlib"]),
            "JULIA_CONDAPKG_BACKEND": "Null",  # this Python is the one to use, as it is
            SIGNALS: "no",
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


def package_folder(suite: Path = Path(__file__).parents[1]) -> Path:
    """The folder of the Julia package DiffProgTasks: inside the installed wheel, or beside ``suite/`` in a clone."""
    inside = suite / "julia"
    return inside if (inside / "Project.toml").exists() else suite.parent / "julia"


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
    found = shutil.which(executable)
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
    key = (executable, project or "", os.environ.get("JULIA_DEPOT_PATH", ""))
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
    for name in ("JULIA_PROJECT", "JULIA_BINDIR"):
        value = os.environ.get(name, "")
        if value and not value.startswith("@") and not Path(value).exists():
            raise UsageError(f"{name}={value} points nowhere")
    depot = os.environ.get("JULIA_DEPOT_PATH", "").split(os.pathsep)[0]
    if depot and not Path(depot).exists() and not Path(depot).parent.is_dir():
        raise UsageError(f"JULIA_DEPOT_PATH={depot} points nowhere")


def provenance(julia: Julia) -> str:
    """Which Julia, by which way, and the hash of the manifest that fixes its packages."""
    import hashlib

    manifests = sorted(Path(julia.project).glob("*Manifest*.toml"))
    digest = hashlib.sha256(manifests[0].read_bytes()).hexdigest()[:16] if manifests else "none"
    return json.dumps({"version": julia.version, "route": julia.route, "manifest": digest})
