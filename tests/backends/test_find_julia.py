"""Which Julia is taken, shown with Julias that only answer the probe."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import tomllib
from pathlib import Path

import pytest

from diffprog.backends import find_julia
from diffprog.errors import UsageError

if importlib.util.find_spec("juliacall") is None:  # importing it would start Julia
    pytest.skip("juliacall is not installed", allow_module_level=True)
JULIACALL = importlib.metadata.version("juliacall")


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Julia on the PATH, none in the environment, none from juliapkg."""
    for name in (find_julia.EXE, find_julia.PROJECT, "JULIA_PROJECT", "JULIA_BINDIR", "JULIA_DEPOT_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "env").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr("juliapkg.resolve", lambda dry_run: False)


def fake(
    folder: Path, version: str = "1.11.3", pythoncall: str = JULIACALL, lacking: str = "", fails: bool = False
) -> Path:
    """A ``julia`` that answers the probe as told."""
    path = folder / "bin" / "julia"
    answer = "\\n".join([version, str(path), str(folder / "env"), pythoncall, "true", lacking, ""])
    path.write_text("#!/bin/sh\n" + ("echo broken >&2; exit 1\n" if fails else f"printf '{answer}'\n"))
    path.chmod(0o755)
    return path


def test_none_at_all_says_what_was_tried_and_what_mends_it() -> None:
    search = find_julia.find()
    assert search.julia is None
    assert search.attempts == [
        "no Julia is set explicitly",
        "there is no julia on the PATH",
        "juliapkg has not been asked to install one",
    ]
    assert search.mend == "diffprog setup-julia"


def test_one_on_the_path_is_taken_if_it_has_the_packages(tmp_path: Path) -> None:
    path = fake(tmp_path)
    julia = find_julia.find().julia
    assert julia is not None
    assert (julia.route, julia.version, julia.executable) == ("on the PATH", "1.11.3", str(path))
    assert julia.environment()[find_julia.PROJECT] == str(tmp_path / "env")
    assert str(find_julia.package_folder()) in julia.environment()["JULIA_LOAD_PATH"]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"lacking": "Yao,Zygote"}, "lacks Yao, Zygote"),
        ({"version": "1.9.4"}, "Julia 1.9.4 is too old; 1.10 or later is needed"),
        ({"pythoncall": "0.9.1"}, f"PythonCall 0.9.1, but juliacall here is {JULIACALL}"),
        ({"fails": True}, "does not start (broken)"),
    ],
)
def test_one_on_the_path_is_passed_over_and_an_explicit_one_refused(
    tmp_path: Path, answers: dict[str, str], told: str
) -> None:
    path = fake(tmp_path, **answers)  # type: ignore[arg-type]
    search = find_julia.find()
    assert search.julia is None
    assert told in search.reason
    with pytest.raises(UsageError, match=re.escape(told)):
        find_julia.find(str(path), str(tmp_path / "env"))


def test_an_explicit_setting_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake(tmp_path)
    monkeypatch.setenv(find_julia.EXE, str(path))
    monkeypatch.setenv(find_julia.PROJECT, str(tmp_path / "env"))
    julia = find_julia.find().julia
    assert julia is not None
    assert julia.route == "set explicitly (PYTHON_JULIACALL_EXE and PYTHON_JULIACALL_PROJECT)"
    julia = find_julia.find(str(path), str(tmp_path / "env")).julia
    assert julia is not None
    assert julia.route == "set explicitly (options)"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("JULIA_PROJECT", "/nowhere/at/all", "JULIA_PROJECT=/nowhere/at/all points nowhere"),
        ("JULIA_BINDIR", "/nowhere", "JULIA_BINDIR=/nowhere points nowhere"),
        ("JULIA_DEPOT_PATH", f"{__file__}/a/b", f"JULIA_DEPOT_PATH={__file__}/a/b points nowhere, and cannot be made"),
        ("JULIA_DEPOT_PATH", __file__, f"JULIA_DEPOT_PATH={__file__} points nowhere"),
        (find_julia.EXE, "/nowhere/julia", "must be set together"),
    ],
)
def test_variables_that_point_nowhere_are_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=told):
        find_julia.find()


@pytest.mark.parametrize("depot", ["~/x", "~", "~/to/be/made", "{}/to/be/made", "{}", ":", "", "~/x:/nowhere/at/all"])
@pytest.mark.parametrize("home", [True, False])
def test_depots_that_julia_would_expand_or_make_are_its_own_affair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depot: str, home: bool
) -> None:
    """With a home folder and without one, as in some containers."""
    path = fake(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home:
        monkeypatch.setenv("HOME", str(tmp_path))
    else:
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr("os.path.expanduser", lambda path: path)  # of a user whom the system does not know
    given = depot.format(tmp_path)
    monkeypatch.setenv("JULIA_DEPOT_PATH", given)
    julia = find_julia.find().julia
    assert julia is not None
    assert julia.executable == str(path)
    own, *rest = julia.environment().get("JULIA_DEPOT_PATH", "").split(os.pathsep)
    usual = [str(tmp_path / ".julia"), ""] if home else [""]
    if home or given.startswith("/"):
        assert rest == (given.split(os.pathsep) if given.strip(":") else usual)
        assert Path(own).parents[1] == Path((rest[0] or given).replace("~", str(tmp_path)))
    else:  # where its folder would be only Julia could say
        assert os.pathsep.join([own, *rest]) == given or not given.strip(":")


def test_each_checkout_has_a_depot_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Julia keeps one compiled package for an environment: two checkouts would drive each other's out."""
    one, other = (find_julia.depots(tmp_path / name / "julia", {"HOME": str(tmp_path)}) for name in ("a", "b"))
    own = [entry["JULIA_DEPOT_PATH"].split(os.pathsep) for entry in (one, other)]
    assert own[0][0] != own[1][0]
    assert own[0][1:] == own[1][1:] == [str(tmp_path / ".julia"), ""]
    # In the environment of a process that has one already, it is not added to, but exchanged.
    assert find_julia.depots(tmp_path / "b" / "julia", {"HOME": str(tmp_path)} | one) == other
    # Where the first depot cannot be written, it is in the user's cache.
    env = {"HOME": str(tmp_path), "JULIA_DEPOT_PATH": f"{__file__}/depot"}
    cached, given = find_julia.depots(tmp_path / "a" / "julia", env)["JULIA_DEPOT_PATH"].split(os.pathsep)
    assert (Path(cached).parents[1], given) == (tmp_path / ".cache", f"{__file__}/depot")
    # And the Julia that is asked about itself, whether the package is compiled for one, is asked with it.
    asked = tmp_path / "asked"
    path = fake(tmp_path)
    path.write_text(path.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\necho $JULIA_DEPOT_PATH > {asked}\n"))
    monkeypatch.setenv("HOME", str(tmp_path))
    julia = find_julia.find().julia
    assert julia is not None
    assert asked.read_text().strip() == julia.environment()["JULIA_DEPOT_PATH"]


def test_a_tilde_in_a_setting_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in (("JULIA_PROJECT", "~/env"), (find_julia.EXE, "~/bin/julia"), (find_julia.PROJECT, "~/env")):
        monkeypatch.setenv(name, value)
    julia = find_julia.find().julia
    assert julia is not None
    assert julia.route.startswith("set explicitly")


def test_an_explicit_julia_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'/nowhere/julia' .* does not exist"):
        find_julia.find("/nowhere/julia", str(tmp_path))
    with pytest.raises(UsageError, match=r"'/nowhere' .* is not a folder"):
        find_julia.find(str(fake(tmp_path)), "/nowhere")


def test_juliapkg_asks_for_what_the_julia_package_needs() -> None:
    """Users get their packages by juliapkg.json; it must say the same as Project.toml."""
    project = tomllib.loads((find_julia.package_folder() / "Project.toml").read_text())
    asked = json.loads((Path(find_julia.__file__).parents[1] / "juliapkg.json").read_text())["packages"]
    standard = {"LinearAlgebra", "Mmap", "Random", "Statistics", "TOML"}
    assert {name: asked[name]["uuid"] for name in asked} == {
        name: uuid for name, uuid in project["deps"].items() if name not in standard
    }
    assert {name: asked[name]["version"] for name in asked} == {name: project["compat"][name] for name in asked}
