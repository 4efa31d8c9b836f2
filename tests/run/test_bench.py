"""`nox -s bench` is of the program that users run, and leaves its numbers where it says."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffprog.run import variables
from diffprog.run.workers import environment

ROOT = Path(__file__).parents[2]


def test_a_benchmark_does_not_see_the_tests_switches(tmp_path: Path) -> None:
    """They are in its own process, as of any test, and those of a user besides; its workers are without."""
    pytest.importorskip("jax")
    slow = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_DISABLE_JIT": "1", "TORCH_COMPILE_DISABLE": "1"}
    file = tmp_path / "benchmark.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/benchmarks"]
    command += ["-k", "quadratic and discrete and jax and gradient", f"--benchmark-json={file}"]
    # pytest-benchmark measures nothing in what it takes for one of several test processes.
    given = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(command, cwd=ROOT, env=given | slow, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (found,) = json.loads(file.read_text())["benchmarks"]
    assert found["extra_info"]["backend"] == "jax"
    assert not {"jit", "optimisations"} & found["extra_info"]["switches"].keys()


@pytest.mark.parametrize("name", ["JAX_DISABLE_JIT", "PYTHON_JULIACALL_OPTIMIZE", "JAX_DEBUG_NANS"])
def test_switches_that_slow_are_known(name: str) -> None:
    given = {"PATH": "/bin", name: "1"}
    assert variables.slowing(environment("float64", "cpu", 1, None, given=given)) == []
    assert variables.slowing(environment("float64", "cpu", 1, None, (name,), given=given)) == [name]


def test_a_benchmark_refuses_what_slows_it() -> None:
    from tests.benchmarks.conftest import refuse_what_slows

    refuse_what_slows({"PATH": "/bin"}, {"x64": "True", "optimisation": "2"})
    for env, switches in (
        ({"JAX_DISABLE_JIT": "1"}, {}),
        ({}, {"optimisations": "most are off"}),
        ({}, {"optimisation": "0"}),
    ):
        with pytest.raises(pytest.fail.Exception, match="no benchmark"):
            refuse_what_slows(env, switches)


def test_the_session_writes_where_it_says() -> None:
    (bench,) = [
        node
        for node in ast.parse((ROOT / "noxfile.py").read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "bench"
    ]
    text = ast.unparse(bench)
    assert "Path('reports', 'bench', 'benchmark.json')" in text
    assert "--benchmark-json={path}" in text
