"""Julia in this process: each in a process of its own, since what is imported first decides what happens.

Either it works or it is refused with a sentence: a signal that ends the process is a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffprog.backends.find_julia import Search

ROOT = Path(__file__).parents[2]


def python(julia: Search, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh Python with a clean import order, warnings as errors but for those of juliacall and of the frameworks."""
    assert julia.julia is not None
    environment = os.environ | julia.julia.environment() | {"PYTHONPATH": str(ROOT / "suite"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=300, cwd=ROOT / "suite"
    )


@pytest.mark.julia
@pytest.mark.parametrize("framework", ["torch", pytest.param("jax", marks=pytest.mark.thorough)])
def test_operations_in_one_process(julia: Search, framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the faulthandler, as pytest has it. Several threads, which the variable asks for, would not live with it:
    the first collection of garbage would end the process. JAX is in one process with Julia in `test_import_orders_work`
    as well.
    """
    pytest.importorskip(framework)
    monkeypatch.setenv("JULIA_NUM_THREADS", "3")
    script = Path(__file__).parent / "scripts" / f"{framework}_in_process.py"
    done = python(julia, "-X", "faulthandler", str(script))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("done\n"), done.stdout + done.stderr


USE_TORCH = """
x = torch.ones(3, dtype=torch.float64, requires_grad=True)
torch_op("x -> x .^ 2", route="in_process")(x).sum().backward()
assert x.grad.tolist() == [2.0] * 3
a = torch.randn(200, 200, dtype=torch.float64)
torch.linalg.eigh(a @ a.T)  # a BLAS of each side in one process
"""
USE_JAX = """
op = jax_op("x -> x .^ 2", route="in_process", result=lambda x: x)
assert jax.jit(jax.grad(lambda x: op(x).sum()))(jax.numpy.ones(3)).tolist() == [2.0] * 3
"""
ORDERS = {
    "torch, then Julia": f"import torch\nfrom diffprog.interop import torch_op\n{USE_TORCH}",
    "Julia, then torch": "from diffprog.interop import route, torch_op\nroute('in_process')\nimport torch\n"
    + USE_TORCH,
    "juliacall by the user, then torch": f"import juliacall, torch\nfrom diffprog.interop import torch_op\n{USE_TORCH}",
    "jax at work, then Julia": f"import jax\njax.numpy.ones(3).sum()\nfrom diffprog.interop import jax_op\n{USE_JAX}",
    "Julia, then jax": "from diffprog.interop import jax_op, route\nroute('in_process', thread='own')\nimport jax\n"
    + USE_JAX,
    "torch and jax, then Julia": "import torch, jax\nfrom diffprog.interop import jax_op, torch_op\n"
    + USE_JAX
    + USE_TORCH,
}


@pytest.mark.julia
def test_more_threads_without_signal_handlers_are_refused(julia: Search) -> None:
    code = (
        "import os\nos.environ['PYTHON_JULIACALL_THREADS'] = '2'\nimport juliacall\n"
        "from diffprog.interop import route\nroute('in_process')"
    )
    done = python(julia, "-c", code)
    assert done.returncode == 1
    assert "PYTHON_JULIACALL_HANDLE_SIGNALS=yes" in done.stderr.splitlines()[-1]


FAKED = """
import atexit, sys, types
import diffprog.interop.in_process as in_process

class Library:
    def jl_atexit_hook(self, code):
        raise SystemExit("Julia's own end")

evaluated = []
juliacall = types.ModuleType("juliacall")
juliacall.CONFIG = {"opt_handle_signals": "no", "lib": Library()}
juliacall.Main = types.SimpleNamespace(seval=lambda code: evaluated.append(code) or 2)
sys.modules["juliacall"] = juliacall

@atexit.register
def at_jl_exit():  # as juliacall has it
    hook = juliacall.CONFIG["lib"].jl_atexit_hook
    hook.argtypes = [int]
    hook.restype = None
    hook(0)
    assert evaluated[-1] == "GC.enable(false)", evaluated
    print("ended")

in_process.start(None)
"""


def test_a_refused_julia_with_threads_is_not_ended_by_itself() -> None:
    """Which would be by a segmentation fault; here with a juliacall that only looks like one."""
    done = subprocess.run([sys.executable, "-c", FAKED], capture_output=True, text=True, cwd=ROOT / "suite")
    assert (done.returncode, done.stdout) == (1, "ended\n"), done.stderr
    assert "PYTHON_JULIACALL_HANDLE_SIGNALS=yes" in done.stderr.splitlines()[-1]


USUAL = ("torch and jax, then Julia",)
"""What is tried without --thorough: each takes a start of Julia."""


@pytest.mark.julia
@pytest.mark.parametrize(
    "order", [one if one in USUAL else pytest.param(one, marks=pytest.mark.thorough) for one in ORDERS]
)
def test_import_orders_work(julia: Search, order: str) -> None:
    for framework in ("torch", "jax"):
        if framework in order:
            pytest.importorskip(framework)
    done = python(julia, "-c", ORDERS[order] + "\nprint('done')")
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.julia
def test_jax_is_refused_where_julia_answers_to_the_main_thread(julia: Search) -> None:
    pytest.importorskip("jax")
    done = python(
        julia, "-c", "import juliacall\nfrom diffprog.interop import jax_op\njax_op('x -> x', route='in_process')"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "diffprog.interop.errors.BridgeError: juliacall was imported already"
    )


def test_without_julia_it_says_how_to_get_one() -> None:
    code = (
        "from diffprog.backends import find_julia\n"
        "find_julia.find = lambda: find_julia.Search(None, ['no Julia is set'], 'diffprog setup-julia')\n"
        "from diffprog.interop import torch_op\ntorch_op('x -> x')"
    )
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "suite")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "Julia is not available: no Julia is set; to mend this: diffprog setup-julia"
    )
