"""Julia's own tests of DiffProgTasks, under a plain ``julia`` without Python."""

from __future__ import annotations

import os
import subprocess

import pytest

from diffprog.backends.find_julia import Search, package_folder


@pytest.mark.julia
def test_runtests(julia: Search, pytestconfig: pytest.Config) -> None:
    found = julia.julia
    assert found is not None
    script = str(package_folder() / "test" / "runtests.jl")
    # Nearly all of its time is compilation, of code that runs once.
    command = [found.executable, f"--project={found.project}", "--startup-file=no", "-O0", script]
    if pytestconfig.getoption("--thorough"):
        command.append("--thorough")
    done = subprocess.run(command, env=os.environ | found.environment(), capture_output=True, text=True)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Test Summary" in done.stdout
