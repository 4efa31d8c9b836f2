"""Installing and precompiling Julia: a step of its own, with its output shown, never within a timed region."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from diffprog.backends.find_julia import Julia, Search, find, package_folder
from diffprog.errors import UsageError


def install() -> None:
    """Lets juliapkg download Julia and the packages that ``suite/diffprog/juliapkg.json`` names; its output is shown.

    Raises:
        UsageError: if that fails, as it does without a network.
    """
    code = "import juliapkg; juliapkg.resolve()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], stderr=subprocess.PIPE, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UsageError(
            f"juliapkg could not install Julia ({last}). Without a network, install Julia and the packages of "
            f"{package_folder() / 'Project.toml'} and PythonCall by other means, and name them by "
            "--julia-exe and --julia-project"
        )


def precompile(julia: Julia, adapt: Callable[[dict[str, str]], dict[str, str]] = dict) -> None:
    """Compiles PythonCall and DiffProgTasks once, so that no worker has to; Julia's own progress is shown.

    Args:
        julia: which one.
        adapt: makes of the environment of this installation's workers that of another's.

    Raises:
        UsageError: if the package does not load.
    """
    command = [julia.executable, f"--project={julia.project}", "--startup-file=no", "-e"]
    environment = adapt(os.environ | julia.environment() | {"JULIA_PYTHONCALL_EXE": sys.executable})
    done = subprocess.run([*command, "using PythonCall, DiffProgTasks"], env=environment, check=False)
    if done.returncode != 0:
        folders = environment["JULIA_LOAD_PATH"].split(os.pathsep)
        raise UsageError(f"the Julia package in {folders[1]} does not load with {julia.executable}; see above")


def ensure(executable: str | None = None, project: str | None = None) -> Search:
    """Finds a Julia, installing one if there is none, and precompiles the package if it is not.

    Raises:
        UsageError: if none can be had.
    """
    search = find(executable, project)
    if search.julia is None and search.mend == "diffprog setup-julia":
        install()
        search = find(executable, project)
    if search.julia is None:
        raise UsageError(f"no Julia can be had: {search.reason}" + (f" (try: {search.mend})" if search.mend else ""))
    if not search.julia.precompiled:
        precompile(search.julia)
    return search
