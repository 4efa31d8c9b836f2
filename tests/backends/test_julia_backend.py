"""The bridge itself, in a process of its own: memory is shared, and Julia's errors come back as what they are."""

from __future__ import annotations

import subprocess
import sys

import pytest

from diffprog.backends.find_julia import Search
from diffprog.run.workers import environment

pytestmark = pytest.mark.julia


def in_julia(search: Search, code: str) -> str:
    env = environment("float64", "cpu", 1, search.julia)
    setup = "import numpy as np\nfrom diffprog.backends.julia_backend import JuliaBackend\n"
    setup += "backend = JuliaBackend()\nbackend.open('float64', 'cpu', 1)\n"
    done = subprocess.run([sys.executable, "-c", setup + code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_wrapped_array_is_numpys_own_memory_transposed(julia: Search) -> None:
    code = """
a = np.arange(6.0).reshape(2, 3)
wrapped = backend._wrap(a)
backend.julia.seval("x -> (x[3, 1] = 70.0)")(wrapped)
print(list(backend.julia.size(wrapped)), a[0, 2], a.sum())
"""
    assert in_julia(julia, code).strip() == "[3, 2] 70.0 83.0"


def test_a_gradient_is_julias_own_memory_until_it_is_fetched(julia: Search) -> None:
    code = """
from diffprog import tasks
task = tasks.get("flow")
config = task.configure("quadratic", "tiny")
cell = backend.prepare("flow", config, "discrete", task.draw(config, 0))
result = cell.derivative()
seen = np.asarray(result[1])
backend.julia.seval("x -> (x[1] = 42.0)")(result[1])
print(seen[0], cell.fetch(result)[1].base is None)
"""
    assert in_julia(julia, code).strip() == "42.0 True"


def test_an_unknown_method_is_unsupported_with_julias_reason(julia: Search) -> None:
    code = """
from diffprog import tasks
from diffprog.errors import Unsupported
task = tasks.get("flow")
config = task.configure("quadratic", "tiny")
try:
    backend.prepare("flow", config, "telepathy", task.draw(config, 0))
except Unsupported as error:
    print(error)
"""
    assert (
        in_julia(julia, code).strip()
        == 'no method of flow "telepathy"; there are: discrete, checkpointed, backsolve, library'
    )
