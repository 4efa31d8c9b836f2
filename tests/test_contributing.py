"""The walk-through of CONTRIBUTING.md, followed to the letter in a copy of the suite."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from diffprog.backends.find_julia import Search
from diffprog.records.cells import Journal, Record

ROOT = Path(__file__).parents[1]
TASK = "fput"
_BLOCK = re.compile(r"^\*\*`(?P<path>[^`]+)`\*\*\n\n```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^```(?!sh$|text$)\w+$", re.MULTILINE)


@dataclass(frozen=True)
class Change:
    """One block of the page: the whole text of a new file, or a diff of one that exists."""

    path: str
    text: str
    is_diff: bool

    def apply(self, folder: Path) -> None:
        """Makes the change; fails where the page no longer fits the file."""
        file = folder / self.path
        if not self.is_diff:
            assert not file.exists(), f"the page makes {self.path}, which exists"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.text)
            return
        before, text = self.side("-"), file.read_text()
        assert ("\n" + text).count("\n" + before) == 1, f"{self.path} does not hold these lines just once:\n{before}"
        file.write_text(("\n" + text).replace("\n" + before, "\n" + self.side("+"))[1:])

    def side(self, sign: str) -> str:
        """The lines before (``-``) or after (``+``) the change."""
        lines = self.text.splitlines(keepends=True)
        assert all(line[0] in " -+" for line in lines), f"not a diff of {self.path}:\n{self.text}"
        return "".join(line[1:] for line in lines if line[0] in (" ", sign))


def changes(page: str) -> list[Change]:
    """The blocks below a file's name in bold. Only commands and what they print may stand without one."""
    found = [Change(block["path"], block["text"], block["language"] == "diff") for block in _BLOCK.finditer(page)]
    assert len(found) == len(_FENCE.findall(page)), "a block of code has no file's name above it"
    return found


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The suite with the task of the page added."""
    folder = tmp_path / "copy"
    ignored = shutil.ignore_patterns("__pycache__", "Manifest*.toml")
    for name in ("suite", "julia"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for change in changes((ROOT / "CONTRIBUTING.md").read_text()):
        change.apply(folder)
    return folder


def call(folder: Path, *arguments: str, **variables: str) -> str:
    """Runs Python in the copy, which is then the suite that gets imported."""
    environment = os.environ | {"PYTHONPATH": str(folder / "suite")} | variables
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def diffprog(folder: Path, out: str, *arguments: str, **variables: str) -> list[Record]:
    """The records of ``diffprog run`` in the copy, with no more samples than it must take."""
    call(folder, "-m", "diffprog", "run", "--task", TASK, "--seconds", "0", "--out", out, *arguments, **variables)
    return Journal(folder / out).read()


def check(
    records: Sequence[Record],
    backends: Sequence[str],
    precisions: Sequence[str] = ("float64", "float32"),
    operators: Sequence[str] = ("gradient",),
) -> None:
    """Every cell is there and ok, the reference by finite differences too, the harmonic chain by its closed form."""
    cells = {(r.variant, r.backend, r.precision, r.operator) for r in records}
    assert len(cells) == len(records) == 2 * len(backends) * len(precisions) * len(operators)
    assert {r.backend for r in records} == set(backends)
    for record in records:
        assert record.outcome == "ok", f"{record.cell.name}: {record.reason}"
        found = record.agreement
        assert found is not None
        assert record.invariants == {"parameters": record.parameters, "springs": record.parameters + 1}
        assert (found.closed_form is not None) == ((record.variant, record.operator) == ("harmonic", "gradient"))
        if found.closed_form is not None:
            assert (found.closed_form.relative_l2 or 0) <= (1e-14 if record.precision == "float64" else 1e-6)
        if record.backend == "numpy" and record.precision == "float64":
            assert found.finite_differences is not None and found.finite_differences_tolerance is not None
            assert found.finite_differences <= found.finite_differences_tolerance < 1e-8


def test_the_task_of_the_page_runs(copy: Path) -> None:
    backends = ["numpy", *(name for name in ("torch", "jax") if importlib.util.find_spec(name) is not None)]
    every = ("gradient", "jvp", "hvp")
    chosen = ("--backend", ",".join(backends))
    both = ("--precision", "float64,float32", "--operator", ",".join(every))
    check(diffprog(copy, "tiny", *chosen, *both, "--no-report"), backends, operators=every)
    records = diffprog(copy, "small", *chosen, "--size", "small")
    check(records, backends, ("float64",))
    assert all((copy / "small" / "figures" / f"{record.cell.case.key}.png").exists() for record in records)
    assert f"{TASK}: The Fermi-Pasta-Ulam-Tsingou chain" in call(copy, "-m", "diffprog", "list")
    assert "4 passed" in call(copy, "-m", "pytest", "-q", f"tests/tasks/test_{TASK}.py")


def test_the_page_is_in_the_style_that_it_asks_for(copy: Path) -> None:
    if importlib.util.find_spec("ruff") is None:
        pytest.skip("ruff is not installed")
    files = [str(path) for path in copy.rglob("*.py")]
    call(copy, "-m", "ruff", "check", "--no-cache", *files)
    call(copy, "-m", "ruff", "format", "--no-cache", "--check", *files)


def test_a_page_that_no_longer_fits_is_told(tmp_path: Path) -> None:
    (tmp_path / "names.py").write_text('NAMES = ("flow", "another")\n')
    page = '**`names.py`**\n\n```diff\n-NAMES = ("flow",)\n+NAMES = ("flow", "fput")\n```\n\n```sh\nrm names.py\n```\n'
    (change,) = changes(page)
    with pytest.raises(AssertionError, match=r"names.py does not hold these lines"):
        change.apply(tmp_path)


@pytest.fixture
def julia_copy(copy: Path) -> Iterator[Path]:
    """The copy, with only the task of the page in Julia's workload and tests.

    To precompile the workload of all tasks takes minutes, and their tests run elsewhere. What is to be shown here is
    that the page's own lines work.
    """
    workload = copy / "julia/src/precompile.jl"
    kept, separator, _ = workload.read_text().partition("@setup_workload begin\n")
    assert separator
    workload.write_text(f"{kept}@compile_workload begin\n    {TASK}_workload()\nend\n")
    tests = copy / "julia/test/runtests.jl"
    others = re.compile(rf'^ *@testset "(?!{TASK}")\w+" include\(.*\n', re.MULTILINE)
    tests.write_text(others.sub("", tests.read_text()))
    yield copy


@pytest.mark.julia
@pytest.mark.thorough
def test_the_task_of_the_page_runs_in_julia(julia_copy: Path, julia: Search) -> None:
    found = julia.julia
    assert found is not None
    # A depot of its own takes what is compiled here, so that the package of this clone keeps its cache.
    depots = [str(julia_copy / "depot"), os.environ.get("JULIA_DEPOT_PATH") or str(Path.home() / ".julia"), ""]
    variables = {"JULIA_DEPOT_PATH": os.pathsep.join(depots)}
    chosen = ("--backend", "numpy,julia", "--julia-exe", found.executable, "--julia-project", found.project)
    records = diffprog(julia_copy, "run", *chosen, "--precision", "float64,float32", **variables)
    check(records, ("numpy", "julia"))
    load_path = os.pathsep.join(["@", str(julia_copy / "julia"), "@v#.#", "@stdlib"])
    done = subprocess.run(
        [
            found.executable,
            f"--project={found.project}",
            "--startup-file=no",
            str(julia_copy / "julia/test/runtests.jl"),
        ],
        env=os.environ | found.environment() | variables | {"JULIA_LOAD_PATH": load_path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"DiffProgTasks +\| +(\d+) +\1 ", done.stdout), done.stdout
