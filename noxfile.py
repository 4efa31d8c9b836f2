"""What users and CI run. Each session makes its own environment; none of them needs Julia to be there, but `julia`."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "tests"]

PROJECT = nox.project.load_toml("pyproject.toml")
nox.options.reuse_existing_virtualenvs = True


def install(session: nox.Session, *groups: str, extra: str = "all") -> None:
    """The suite with the tested versions of everything."""
    session.install("-c", "constraints.txt", "-e", f".[{extra}]", *nox.project.dependency_groups(PROJECT, *groups))


def lowest(requirements: Sequence[str]) -> list[str]:
    """The lowest version that each requirement allows: ``numpy==2.0`` of ``numpy>=2.0``."""
    return [one.replace(">=", "==") for one in requirements if ">=" in one]


def setup_julia(session: nox.Session, *, required: bool = False) -> None:
    """Julia as a step of its own. Where there is none to be had, the rest goes on without it and says so."""
    session.run("diffprog", "setup-julia", success_codes=[0] if required else [0, 2])


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, the workflow files and the action. Needs none of the frameworks."""
    session.install("-c", "constraints.txt", "-e", ".", "nox", *nox.project.dependency_groups(PROJECT, "lint", "test"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    workflows = (".github/workflows/ci.yml", "docs/examples/gradients.yml")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-actions", "action.yml")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests; those that need Julia are skipped, with the reason, where there is none.

    What takes minutes to compile: `nox -s tests -- --thorough`.
    """
    install(session, "test")
    setup_julia(session)
    # Two at a time: most of the time goes into compiling, and a test process holds up to two frameworks.
    session.run("pytest", "--numprocesses=2", "--dist=worksteal", "--ignore=tests/benchmarks", *session.posargs)


@nox.session
def cross(session: nox.Session) -> None:
    """Only the tests that compare backends with each other."""
    install(session, "test")
    setup_julia(session)
    session.run("pytest", "-m", "cross", *session.posargs)


@nox.session
def julia(session: nox.Session) -> None:
    """Julia's own tests and the Julia backend; fails if Julia is absent."""
    install(session, "test")
    setup_julia(session, required=True)
    session.run("pytest", "-m", "julia", "--require-julia", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """pytest-benchmark on the workers' own clock; its JSON goes to reports/bench/benchmark.json."""
    install(session, "test")
    setup_julia(session)
    path = Path("reports", "bench", "benchmark.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    session.run("pytest", "tests/benchmarks", f"--benchmark-json={path}", *session.posargs)


@nox.session
def report(session: nox.Session) -> None:
    """The main job: every task on every backend that can be had, and a report of it."""
    install(session)
    setup_julia(session)
    session.run("diffprog", "run", *session.posargs)


@nox.session
def fit(session: nox.Session) -> None:
    """Optimises a task on every backend that can be had; arguments go to `diffprog fit`."""
    install(session)
    setup_julia(session)
    session.run("diffprog", "fit", *(session.posargs or ["qcbm"]))


@nox.session
def interop(session: nox.Session) -> None:
    """Julia functions in PyTorch and JAX, with every order of imports; fails if Julia is absent."""
    install(session, "test")
    setup_julia(session, required=True)
    session.run("pytest", "tests/interop", "--thorough", "--require-julia", *session.posargs)


@nox.session
def bridge(session: nox.Session) -> None:
    """What it costs to call Julia from Python, by size and way; arguments go to `diffprog bridge`."""
    install(session)
    setup_julia(session)
    session.run("diffprog", "bridge", *session.posargs)


@nox.session
def peers(session: nox.Session) -> None:
    """The suite beside what its users would pick instead, measured in turn; arguments go to `python -m peers`."""
    install(session, "peers")
    setup_julia(session)
    session.run("python", "-m", "peers", *session.posargs)


@nox.session(python="3.11")
def floors(session: nox.Session) -> None:
    """The lowest versions that pyproject.toml allows, of all that the suite imports itself; the rest is today's.

    On the oldest Python, whose wheels they have. Torch is left out where its CPU build of then is not to be had:
    `nox -s floors -- no-torch`.
    """
    project = PROJECT["project"]
    extras = ["jax", "solvers", "torch"]
    needed = [*project["dependencies"], *(one for name in extras for one in project["optional-dependencies"][name])]
    if "no-torch" in session.posargs:
        needed = [one for one in needed if not one.startswith("torch")]
    session.install(*lowest(needed), *lowest(nox.project.dependency_groups(PROJECT, "test")))
    session.install("--no-deps", "-e", ".")
    chosen = [argument for argument in session.posargs if argument != "no-torch"]
    # What is newer than them warns of what it will take away from them.
    usual = ["--numprocesses=2", "--dist=worksteal", "--ignore=tests/benchmarks"]
    session.run("pytest", "-W", "ignore::DeprecationWarning", *(chosen or usual))


@nox.session
def sdist(session: nox.Session) -> None:
    """The source distribution has all that its tests need: it is built, unpacked, and its core tested from there."""
    session.install("-c", "constraints.txt", "hatchling")
    home = Path(session.create_tmp(), "built").absolute()
    shutil.rmtree(home, ignore_errors=True)  # files of the run before, which may have moved since
    session.run("hatchling", "build", "-t", "sdist", "-d", str(home))
    (archive,) = home.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(home, filter="data")
    session.chdir(home / archive.name.removesuffix(".tar.gz"))
    session.install("-c", "constraints.txt", ".", *nox.project.dependency_groups(PROJECT, "test"))
    session.run(
        "pytest", *(session.posargs or ["tests/agree", "tests/report", "tests/measure", "tests/records", "tests/run"])
    )


@nox.session
def checker(session: nox.Session) -> None:
    """The checker checked: how many planted errors it caught, and how many true gradients it refused."""
    install(session, "test", extra="torch")
    session.run("pytest", "tests/checker", *session.posargs)


@nox.session
def gradients(session: nox.Session) -> None:
    """What CI runs on every change: every backend that can be had, against the golden gradients. Nothing is timed."""
    install(session)
    setup_julia(session)
    session.run("diffprog", "baseline", "check", *session.posargs)


@nox.session
def engines(session: nox.Session) -> None:
    """Every operator by every engine on every task, those that take minutes to compile too."""
    install(session, "test", extra="all,enzyme")
    setup_julia(session)
    files = ("tests/test_engines.py", "tests/backends/test_julia_package.py", "tests/backends/test_jax_enzyme.py")
    session.run("pytest", *files, "--thorough", *session.posargs)
