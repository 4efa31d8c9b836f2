"""The command ``diffprog doctor``."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from diffprog import config
from diffprog.backends import find_julia
from diffprog.cli.console import err, out, say
from diffprog.cli.options import ConfigFile, JuliaExe, JuliaProject, Threads
from diffprog.run import doctor as examination
from diffprog.version import __version__


def doctor(
    threads: Threads = 1,
    julia_exe: JuliaExe = None,
    julia_project: JuliaProject = None,
    config_file: ConfigFile = None,
) -> None:
    """What is installed, what is missing, and the exact command that mends it. Opens every backend; changes nothing.

    Example: `diffprog doctor`
    """
    from diffprog.run import environment

    say(f"diffprog {__version__} on {environment.cpu()}, {environment.cores()} processors", "bold")
    settings = config.read(config_file)
    asked, configured = (julia_exe, julia_project), (settings.julia_executable, settings.julia_project)
    executable, project = asked if any(asked) else configured
    search = find_julia.find(executable, project)
    for attempt in search.attempts:
        say(f"Julia: not taken: {attempt}")
    if search.julia is not None:
        julia = search.julia
        state = "precompiled" if julia.precompiled else "not yet precompiled (the next run does it, for some minutes)"
        say(f"Julia: taken: {julia.version} {julia.route}: {julia.executable}")
        say(f"       environment {julia.project}, {state}")
    with err.status("Opening every backend …"):
        findings = examination.examine(search, threads)
    table = Table("backend", "device", "state", "detail", "to mend it")
    for finding in findings:
        coloured = Text(finding.state, "green" if finding.state == "ready" else "yellow")
        table.add_row(finding.backend, finding.device, coloured, finding.detail or finding.reason, finding.mend)
    out.print(table)
