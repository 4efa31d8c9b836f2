"""Figures are the same whatever settings of matplotlib's the user has, and wherever they are."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from diffprog.report import build
from tests.report.test_report import QCBM, computed, save

SETTINGS = """text.usetex: true
savefig.format: pdf
savefig.dpi: 20
savefig.bbox: tight
figure.facecolor: black
font.family: Comic Sans MS
svg.fonttype: none
path.effects: nothing
axes.formatter.use_mathtext: true
backend: nonsense
what is this?
"""
ELSEWHERE = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}


def report(folder: Path, cwd: Path, **env: str) -> dict[str, str]:
    """Digests of a report's figures, made in another process."""
    code = "import sys; from pathlib import Path; from diffprog.report import write; write(Path(sys.argv[1]))"
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=cwd, env=os.environ | {"PYTHONPATH": path} | env,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    return digests(folder)


def digests(folder: Path) -> dict[str, str]:
    files = sorted((folder / "figures").iterdir())
    assert files
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A run, and the digests of its figures."""
    folder = save(tmp_path_factory.mktemp("figures") / "run", [computed(QCBM, name) for name in ("numpy", "torch")])
    build.write(folder)
    return folder, digests(folder)


@pytest.mark.parametrize(
    "env",
    [{}, {"MPLBACKEND": "nonsense"}, ELSEWHERE, {"MPLBACKEND": "TkAgg"}, {"MATPLOTLIBRC": "/nowhere/rc"}],
    ids=str,
)
def test_settings_in_the_folder_and_the_environment(
    env: Mapping[str, str], clean: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, expected = clean
    settings = SETTINGS.encode() + b"\xff\xfe"  # and damaged
    (tmp_path / "matplotlibrc").write_bytes(settings)
    configuration = tmp_path / "configuration"
    (configuration / "stylelib").mkdir(parents=True)
    (configuration / "matplotlibrc").write_bytes(settings)
    (configuration / "stylelib" / "mine.mplstyle").write_bytes(settings)

    assert report(folder, tmp_path, MPLCONFIGDIR=str(configuration), **env) == expected


def test_settings_of_the_process(clean: tuple[Path, dict[str, str]]) -> None:
    """As in a notebook, which has matplotlib already; they are as they were afterwards."""
    folder, expected = clean
    mine: Any = {"savefig.format": "pdf", "text.usetex": True, "font.size": 30.0, "savefig.bbox": "tight"}
    with matplotlib.rc_context(mine):
        build.write(folder)
        assert {name: matplotlib.rcParams[name] for name in mine} == mine
    assert digests(folder) == expected


def test_no_figure_is_pyplots(tmp_path: Path) -> None:
    """And the working folder is where it was, though matplotlib was imported in another."""
    code = "import os, sys, diffprog.report; print('matplotlib.pyplot' in sys.modules, os.getcwd())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", str(Path.cwd())]
