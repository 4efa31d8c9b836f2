"""The command ``diffprog setup-julia``."""

from __future__ import annotations

from diffprog import config
from diffprog.backends import setup_julia as setting_up
from diffprog.cli.console import say
from diffprog.cli.options import ConfigFile, JuliaExe, JuliaProject


def setup_julia(julia_exe: JuliaExe = None, julia_project: JuliaProject = None, config_file: ConfigFile = None) -> None:
    """Find Julia, or download it and its packages with juliapkg, and precompile the tasks.

    Example: `diffprog setup-julia`
    """
    settings = config.read(config_file)
    executable, project = julia_exe or settings.julia_executable, julia_project or settings.julia_project
    julia = setting_up.ensure(executable, project).julia
    assert julia is not None
    say(f"Julia {julia.version} is ready ({julia.route}): {julia.executable}")
