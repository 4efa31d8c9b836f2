"""The house: which folder may import which, no circles, and no file that is too long to be read at once."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import diffprog
from diffprog import tasks

PACKAGE = Path(diffprog.__file__).parent
FLOORS = (
    ("version", "errors", "plain", "format", "spec", "declaration", "engines", "config"),
    ("records",),
    ("measure", "drawing", "models", "circuits"),
    ("tasks",),
    ("backends",),
    ("agree", "worker"),
    ("run",),
    ("interop",),
    ("report", "gradients"),
    ("cli", "", "pytest_plugin"),
    ("__main__",),
)
"""Folders, and modules beside them, from the ground; the package itself, ``""``, is what users import. Each knows only
those below it; the ground's know one another."""
PAGES = (("compare",), ("fits",), ("bridge",), ("run",), ("gpu",))
"""The same of the folders within ``report``; the modules beside them are what all pages share, or put them together."""
LONGEST = 300
"""Lines of a file."""


def name_of(path: Path) -> str:
    """A module's dotted name."""
    parts = ("diffprog", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


@functools.cache
def imported(module: str) -> frozenset[str]:
    """The suite's modules that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        names: Iterator[str] = iter(())
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are written in full"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            names = (name if name in MODULES else name.rpartition(".")[0] for name in names)
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names)
        found |= {name for name in names if name.partition(".")[0] == "diffprog"}
    return frozenset(found - {module})


def room_of(module: str) -> str:
    """The folder within the package, or the module beside the folders; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def circle(arrows: Mapping[str, frozenset[str]]) -> list[str]:
    """One circle among arrows, as the names along it; none if there is none."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_a_circle_is_seen() -> None:
    assert circle({"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("a")})
    assert not circle({"a": frozenset("bc"), "b": frozenset("c")})


def test_all_imports_are_of_modules_that_are_there() -> None:
    assert all(imported(module) <= MODULES.keys() for module in MODULES)
    assert "diffprog.spec" in imported("diffprog.engines")


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle({module: imported(module) for module in MODULES}) == []


def test_every_folder_has_a_floor() -> None:
    rooms = [room for floor in FLOORS for room in floor]
    assert len(rooms) == len(set(rooms))
    assert set(rooms) == {room_of(module) for module in MODULES}


def test_no_folder_knows_one_above_it_or_beside_it() -> None:
    floors = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    wrong = []
    for module in MODULES:
        here = floors[room_of(module)]
        for other in imported(module):
            there = floors[room_of(other)]
            if there > here or (there == here > 0 and room_of(other) != room_of(module)):
                wrong.append(f"{module} imports {other}")
    assert wrong == []


def test_no_page_knows_one_above_it_or_beside_it() -> None:
    floors = {page: number for number, floor in enumerate(PAGES) for page in floor}
    folders = {path.parent.name for path in (PACKAGE / "report").glob("*/*.py")}
    assert folders == set(floors)
    for module in MODULES:
        home = module.split(".")[1:3]
        if home[:1] == ["report"] and home[-1] in floors:
            for other in imported(module):
                there = other.split(".")[1:3]
                if there[0] == "report" and there[-1] in floors and there != home:
                    assert floors[there[-1]] < floors[home[-1]], f"{module} imports {other}"


@pytest.mark.parametrize("task", tasks.NAMES)
def test_a_task_is_known_to_nobody_else(task: str) -> None:
    """It is found by its folder: nothing outside imports from it, no other task does."""
    home = f"diffprog.tasks.{task}"
    assert f"{home}.spec" in MODULES
    others = (module for module in MODULES if not f"{module}.".startswith(f"{home}."))
    assert [module for module in others if any(f"{name}.".startswith(f"{home}.") for name in imported(module))] == []


def test_no_file_is_too_long() -> None:
    julia = Path(__file__).parents[1] / "julia"
    files = [*MODULES.values(), *julia.glob("src/**/*.jl"), *julia.glob("ext/*.jl")]
    assert any(path.suffix == ".jl" for path in files)
    lines = {str(path): path.read_text(encoding="utf-8").count("\n") for path in files}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}
