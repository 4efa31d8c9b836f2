"""The examples of docs/interop.md, as a reader runs them, a few steps long."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from diffprog.backends.find_julia import Search

pytestmark = [pytest.mark.julia, pytest.mark.thorough]
ROOT = Path(__file__).parents[2]


def example(julia: Search, name: str, *arguments: str) -> str:
    assert julia.julia is not None
    environment = os.environ | julia.julia.environment() | {"PYTHONPATH": str(ROOT / "suite")}
    command = [sys.executable, str(ROOT / "docs" / "examples" / name), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_one_learning_curve_by_torch_by_optax_and_by_julia(julia: Search) -> None:
    for module in ("torch", "optax"):
        pytest.importorskip(module)
    told = example(julia, "train_born_machine.py", "--steps", "50")
    found = dict(re.findall(r"^(\S.*): largest relative difference (\S+)$", told, re.MULTILINE))
    assert found.keys() == {"julia alone", "torch.optim", "optax"}
    assert all(float(difference) < 1e-8 for difference in found.values()), told


def test_a_julia_flow_in_a_torch_module_learns(julia: Search, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    told = example(julia, "flow_module.py", "--steps", "20", "--picture", str(tmp_path / "density.png"))
    losses = [float(loss) for loss in re.findall(r"loss (\S+) nats", told)]
    assert losses[-1] < losses[0] - 0.1, told
    assert all(float(slope) > 0 for slope in re.findall(r"\|dL/dscale\| (\S+)", told))
    assert (tmp_path / "density.png").stat().st_size > 1000
