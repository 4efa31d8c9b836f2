"""The GitHub Action, step by step as GitHub runs it: its own commands in bash, on a small task's folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
TASK = """\
import numpy as np


def draw(seed):
    rng = np.random.default_rng(seed)
    params = {"w": rng.normal(size=3), "b": rng.normal()}
    return params, {"X": rng.normal(size=(20, 3)), "y": rng.integers(0, 2, 20).astype(float)}
"""
NUMPY = """\
import numpy as np


def loss(params, data):
    z = data["X"] @ params["w"] + params["b"]
    return np.logaddexp(0, z).mean() - (data["y"] * z).mean()


def gradient(params, data):
    z = data["X"] @ params["w"] + params["b"]
    slope = (1 / (1 + np.exp(-z)) - data["y"]) / z.size
    return loss(params, data), {"w": data["X"].T @ slope, "b": slope.sum()}
"""
TORCH = """\
import torch


def loss(params, data):
    z = data["X"] @ params["w"] + params["b"]
    return torch.logaddexp(torch.zeros_like(z), z).mean() - (data["y"] * z).mean()
"""
WRONG = TORCH.replace('+ params["b"]', '+ (2 * params["b"].detach() - params["b"])')
"""The same values; the sign of the gradient with respect to b is another."""

_EXPRESSION = re.compile(r"\$\{\{\s*([^}]+?)\s*\}\}")


class Runner:
    """What GitHub does with a composite action: expressions filled in, a script for each `run`, files for results."""

    def __init__(self, home: Path, workspace: Path) -> None:
        self.action: dict[str, Any] = YAML(typ="safe").load(ROOT / "action.yml")
        self.home, self.workspace = home, workspace
        self.outputs: dict[str, dict[str, str]] = {}
        self.summary = home / "summary.md"
        self.summary.touch()
        bin_ = home / "bin"
        bin_.mkdir()
        shim = bin_ / "diffprog"
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m diffprog "$@"\n')
        shim.chmod(0o755)
        self.path = f"{bin_}{os.pathsep}{os.environ['PATH']}"

    def run(self, **inputs: str) -> tuple[int, str]:
        """The action's exit code and what its steps printed; ends with the first step that fails."""
        given = {name: str(one.get("default", "")) for name, one in self.action["inputs"].items()}
        names = {name.replace("-", "_"): name for name in given}
        given |= {names[name]: value for name, value in inputs.items()}
        required = {name for name, one in self.action["inputs"].items() if one.get("required")}
        assert required <= {names[name] for name in inputs}
        printed = ""
        for step in self.action["runs"]["steps"]:
            if "run" not in step or step["name"] == "Install":  # what is installed is what is tested
                continue
            if "if" in step and not self._holds(step["if"], given):
                continue
            code, text = self._step(step, given)
            printed += text
            if code:
                return code, printed
        return 0, printed

    def _step(self, step: dict[str, Any], given: dict[str, str]) -> tuple[int, str]:
        assert step["shell"] == "bash"
        assert not _EXPRESSION.search(step["run"]), "inputs come by the environment: a script takes nothing in"
        outputs = self.home / "outputs"
        outputs.write_text("")
        own = {name: self._filled(text, given) for name, text in step.get("env", {}).items()}
        files = {"GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(self.summary), "PATH": self.path}
        script = self.home / "script.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],
            cwd=self.workspace, env=os.environ | own | files, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "id" in step:
            found = (line.partition("=") for line in outputs.read_text().splitlines())
            self.outputs[step["id"]] = {name: value for name, _, value in found}
        return done.returncode, done.stdout + done.stderr

    def _filled(self, text: str, given: dict[str, str]) -> str:
        return _EXPRESSION.sub(lambda found: self._value(found[1], given), str(text))

    def _value(self, name: str, given: dict[str, str]) -> str:
        match name.split("."):
            case ["inputs", key]:
                return given[key]
            case ["steps", step, "outputs", key]:
                return self.outputs[step][key]
        raise AssertionError(f"no such expression in this test: {name}")

    def _holds(self, condition: str, given: dict[str, str]) -> bool:
        name, _, value = condition.partition(" == ")
        return self._value(name, given) == value.strip("'")

    def told(self, name: str) -> str:
        """An output of the action."""
        return self._filled(self.action["outputs"][name]["value"], {})


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's repository: a task in PyTorch and NumPy, with its baseline."""
    pytest.importorskip("torch")
    root = tmp_path_factory.mktemp("repository")
    folder = root / "models" / "logistic"
    folder.mkdir(parents=True)
    for file, text in {"task.py": TASK, "on_numpy.py": NUMPY, "on_torch.py": TORCH}.items():
        (folder / file).write_text(text)
    command = [sys.executable, "-m", "diffprog", "baseline", "write", "--task", "./models/logistic"]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    assert (folder / "baselines" / "logistic.json").is_file()
    return root


@pytest.fixture
def runner(tmp_path: Path, repository: Path) -> Runner:
    workspace, home = tmp_path / "workspace", tmp_path / "runner"
    home.mkdir()
    shutil.copytree(repository, workspace)
    return Runner(home, workspace)


def test_what_agrees_is_green(runner: Runner) -> None:
    code, printed = runner.run(folder="models/logistic")
    assert code == 0, printed
    assert runner.outputs["backends"] == {
        "chosen": "numpy,torch", "required": "numpy,torch", "extras": "[torch]", "julia": "false",
    }  # fmt: skip
    comment = (runner.workspace / "gradients.md").read_text()
    assert runner.summary.read_text() == comment
    assert comment.startswith("**✓ logistic: the derivatives on numpy, torch are those of the baseline**")
    assert re.search(r"\| ✓ \| logistic-model-tiny-seed0 \| torch \| hvp \| ok \|", comment)
    assert (runner.told("comment"), runner.told("exit-code")) == ("gradients.md", "0")


def test_a_sign_error_is_red_and_named(runner: Runner) -> None:
    (runner.workspace / "models/logistic/on_torch.py").write_text(WRONG)
    code, printed = runner.run(folder="./models/logistic", backends=" torch, numpy", comment="told.md")
    assert code == 1, printed
    comment = (runner.workspace / "told.md").read_text()
    assert comment.startswith("**✗ logistic: ")
    assert "not those of the baseline: torch**" in comment
    assert re.search(r"torch-eager-engine-gradient.*b \(2\.00e\+00\) differ, w not", comment.replace("\\", ""))
    assert re.search(r"\| ✗ \| logistic-model-tiny-seed0 \| torch \| gradient \| disagrees \| ", comment)
    assert re.search(r"\| ✓ \| logistic-model-tiny-seed0 \| numpy \| gradient \| ok \| ", comment)
    assert runner.summary.read_text() == comment
    assert runner.told("exit-code") == "1"


@pytest.mark.parametrize(
    ("inputs", "spoilt", "told"),
    [
        ({"folder": "models/other"}, "", "models/other does not exist"),
        ({"folder": "models/logistic", "backends": "torch,fortran"}, "", "there is no backend 'fortran'"),
        ({"folder": "models/logistic"}, "baselines/logistic.json", "there is no baseline"),
    ],
)  # fmt: skip
def test_what_cannot_be_checked_says_why(runner: Runner, inputs: dict[str, str], spoilt: str, told: str) -> None:
    if spoilt:
        (runner.workspace / "models/logistic" / spoilt).unlink()
    code, printed = runner.run(**inputs)
    assert code == 2, printed
    comment = (runner.workspace / "gradients.md").read_text()
    assert "could not be checked (exit code 2)" in comment
    assert told in comment
    assert told in printed
    assert runner.summary.read_text() == comment


def test_what_is_installed_is_the_action_s_own_suite_with_what_the_backends_need() -> None:
    steps = {
        step["name"]: step for step in YAML(typ="safe").load(ROOT / "action.yml")["runs"]["steps"] if "name" in step
    }
    install = steps["Install"]
    pip = 'python() { printf "%s\\n" "$*"; }; '
    env = {"SUITE": "/the/action", "EXTRAS": "[torch,jax]", "REQUIREMENTS": "einops -r more.txt"}
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", pip + install["run"]], env=os.environ | env,
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.splitlines() == ["-m pip install /the/action[torch,jax]", "-m pip install einops -r more.txt"]
    assert install["env"]["SUITE"] == "${{ github.action_path }}"
    assert steps["Julia and its packages"]["run"] == "diffprog setup-julia"


def test_the_example_uses_what_the_action_takes_and_gives() -> None:
    action: dict[str, Any] = YAML(typ="safe").load(ROOT / "action.yml")
    example: dict[str, Any] = YAML(typ="safe").load(ROOT / "docs/examples/gradients.yml")
    used, comment = example["jobs"]["gradients"]["steps"][1:]
    assert set(used["with"]) <= set(action["inputs"])
    for name in re.findall(rf"steps\.{used['id']}\.outputs\.([\w-]+)", str(comment)):
        assert name in action["outputs"]
