"""What the tests share: Julia if it is there, and runs in a temporary folder."""

from __future__ import annotations

import getpass
import os
import signal
import tempfile

# One thread for each test process, before NumPy is loaded; and of several test processes (pytest-xdist) each its own
# processor, or all would bind their workers to the same one.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
if (_worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    _allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {_allowed[int(_worker.removeprefix("gw")) % len(_allowed)]})

# The tests' own shell may ignore Ctrl-C, and what tests start would do so, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Most of the tests' time goes into compiling what runs once: the compilers may spare themselves their optimisations,
# and what they did before. Workers do not inherit these: `run` keeps them, tests/benchmarks does not.
# `diffprog baseline check`, which CI runs besides, compiles as users do.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("PYTHON_JULIACALL_OPTIMIZE", "0")
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", f"{tempfile.gettempdir()}/diffprog-tests-{getpass.getuser()}")

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

from diffprog.backends import find_julia, setup_julia
from diffprog.records.cells import Record
from diffprog.run import driver, plan
from diffprog.run.workers import COMMAND

SPARING = ("JAX_DISABLE_MOST_OPTIMIZATIONS", "PYTHON_JULIACALL_OPTIMIZE", "TORCHINDUCTOR_CACHE_DIR")
"""The variables of above, for workers of tests that ask what is computed and not how fast."""

settings.register_profile("diffprog", deadline=None, derandomize=True, max_examples=60, database=None)
settings.load_profile("diffprog")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-julia", action="store_true", help="fail, instead of skipping, where Julia is absent")
    parser.addoption("--thorough", action="store_true", help="also what takes minutes to compile")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--thorough"):
        left_out = pytest.mark.skip(reason="takes minutes to compile: tried with --thorough")
        for item in items:
            if item.get_closest_marker("thorough"):
                item.add_marker(left_out)


def pytest_report_header() -> str:
    search = find_julia.find()
    if search.julia is None:
        return f"julia: unavailable, its tests are skipped: {search.reason}; to mend this: {search.mend}"
    return f"julia: {search.julia.version} {search.julia.route}: {search.julia.executable}"


@pytest.fixture(scope="session")
def julia(pytestconfig: pytest.Config) -> find_julia.Search:
    """A Julia that is ready to run the tasks; without one the test is skipped."""
    search = find_julia.find()
    if search.julia is None:
        reason = f"Julia is unavailable: {search.reason}"
        if pytestconfig.getoption("--require-julia"):
            pytest.fail(reason)
        pytest.skip(reason)
    if not search.julia.precompiled:
        setup_julia.precompile(search.julia)
    return search


Runner = Callable[..., list[Record]]


@pytest.fixture
def run(tmp_path: Path) -> Runner:
    """Runs a request in workers and returns the records; they are also in ``tmp_path/run``."""

    def run_(
        request: plan.Request,
        *,
        resume: bool = False,
        command: Sequence[str] = COMMAND,
        time_limit: float = 300.0,
        julia: find_julia.Search | None = None,
        attempt: bool = False,
        samples: int = 9,
    ) -> list[Record]:
        settings = driver.Settings(
            samples=samples,
            seconds=0.0,
            time_limit=time_limit,
            command=command,
            julia=julia or find_julia.Search(),
            attempt=attempt,
            keep=SPARING,
        )
        running = driver.Run(tmp_path / "run", settings)
        running.start(resume=resume)
        return running.run(plan.cells(request))

    return run_
