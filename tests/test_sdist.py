"""The source distribution has what its own tests need."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOT_IN_IT = ("reports/reference/", ".github/", ".ci/")


def test_every_file_but_reports_and_ci_is_in_it() -> None:
    sdist = pytest.importorskip("hatchling.builders.sdist")
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a clone")
    packed = {file.distribution_path for file in sdist.SdistBuilder(str(ROOT)).recurse_included_files()}
    wanted = {name for name in listed.splitlines() if not name.startswith(NOT_IN_IT) and (ROOT / name).exists()}
    assert wanted - packed == set()
    assert {f"reports/baselines/{path.name}" for path in (ROOT / "reports" / "baselines").iterdir()} <= packed
    assert not any(name.startswith("reports/reference/") for name in packed)


def test_every_requirement_has_a_floor() -> None:
    """Which `nox -s floors` installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    groups += project["dependency-groups"].values()
    for requirement in (one for group in groups for one in group if not one.startswith("diffprog-suite")):
        name, _, version = requirement.partition(">=")
        assert name, requirement
        assert version.replace(".", "").isdigit(), requirement
