"""Models in Julia, by real workers: an index means the same there, by every engine; and mistakes are told."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffprog import tasks
from diffprog.backends.find_julia import Search
from diffprog.records.cells import Record
from diffprog.run import plan
from diffprog.run.workers import environment
from tests.conftest import Runner

pytestmark = pytest.mark.julia

TASK = """
import numpy as np


def draw(seed):
    rng = np.random.default_rng(seed)
    params = {
        "W": rng.standard_normal((2, 3, 4)),
        "A": rng.standard_normal((3, 2)),
        "s": rng.standard_normal(),
        "b": rng.standard_normal(4),
        "unused": rng.standard_normal((2, 2)),
    }
    data = {
        "X": rng.standard_normal((5, 3)),
        "z": rng.standard_normal((2, 3)) + 1j * rng.standard_normal((2, 3)),
        "mask": rng.random((5, 2)) < 0.5,
        "index": rng.permutation(4)[:3],
        "power": 2,
        "scale": 0.5,
        "negative": True,
    }
    return params, data
"""

TORCH = """
import torch


def _weights(shape, like):
    i, j, k = torch.meshgrid(*(torch.arange(n).to(like) for n in shape), indexing="ij")
    return torch.sin(1 + i + 3 * j + 12 * k)


def _hidden(params, data):
    return torch.tanh(data["X"] @ params["A"])


def loss(params, data):
    W, b, s = params["W"], params["b"], params["s"]
    y = _hidden(params, data)
    first = (_weights(W.shape, W) * W).sum() ** 2
    second = (y[data["mask"]] ** data["power"]).sum()
    third = torch.exp(s * data["scale"]) * b[data["index"]].prod()
    turned = params["A"].T.to(data["z"].dtype) * data["z"]
    fourth = (turned * torch.exp(1j * s)).real.sum() + (turned.abs() ** 2)[1, 2]
    return (-1 if data["negative"] else 1) * (first + second) + third + fourth


def outputs(params, data):
    turned = params["A"].T * data["z"].real
    return {"y": _hidden(params, data), "W": params["W"], "turned": turned, "s": params["s"] * 2}
"""

JULIA = """
weight(T, i, j, k) = convert(T, sin(1 + (i - 1) + 3(j - 1) + 12(k - 1)))
weights(W) = [weight(eltype(W), i, j, k) for i in axes(W, 1), j in axes(W, 2), k in axes(W, 3)]
hidden(params, data) = tanh.(data.X * params.A)

function loss(params, data)
    (; W, b, s) = params
    y = hidden(params, data)
    first = sum(weights(W) .* W)^2
    second = sum(y[data.mask] .^ data.power)
    third = exp(s * data.scale) * prod(b[data.index .+ 1])
    turned = transpose(params.A) .* data.z
    fourth = real(sum(turned .* cis(s))) + abs2(turned[2, 3])
    return (data.negative ? -1 : 1) * (first + second) + third + fourth
end

outputs(params, data) =
    (y = hidden(params, data), W = params.W, turned = transpose(params.A) .* real(data.z), s = 2 * params.s)
"""

_COUNT = itertools.count()


def made(where: Path, files: dict[str, str]) -> str:
    """A task of these files, known to this process; its name."""
    folder = where / f"model{next(_COUNT)}"
    for path, text in files.items():
        (folder / path).parent.mkdir(exist_ok=True, parents=True)
        (folder / path).write_text(text, encoding="utf-8")
    return tasks.add(folder).name


@pytest.fixture
def tensors(tmp_path: Path) -> str:
    """A model in which any transposition, wrong index or wrong block would be seen."""
    return made(tmp_path, {"task.py": TASK, "on_torch.py": TORCH, "on_julia.jl": JULIA})


def by_engine(records: list[Record], backend: str) -> dict[tuple[str, str, str], Record]:
    """By operator, engine and precision."""
    return {(r.operator, r.engine, r.precision): r for r in records if r.backend == backend}


def test_an_index_means_the_same(run: Runner, julia: Search, tensors: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    request = plan.Request((tensors,), operators=("gradient", "jvp", "hvp"), engines=("eager", "zygote", "forwarddiff"))
    every = run(request, julia=julia)
    assert [(r.operator, r.engine) for r in every if r.outcome == "unsupported"] == [("jvp", "zygote")]
    records = [record for record in every if record.outcome != "unsupported"]
    assert {record.outcome for record in records} == {"ok"}, [record.reason for record in records]
    torch, found = (by_engine(records, backend) for backend in ("torch", "julia"))
    assert set(found) == {
        ("gradient", "zygote", "float64"), ("gradient", "forwarddiff", "float64"), ("jvp", "forwarddiff", "float64"),
        ("hvp", "zygote", "float64"), ("hvp", "forwarddiff", "float64"),
    }  # fmt: skip
    gradient = found["gradient", "zygote", "float64"]
    assert gradient.made_with == "Zygote"
    found_by = gradient.agreement
    assert found_by is not None and found_by.gradient is not None and found_by.gradient.relative_l2 is not None
    assert found_by.gradient.relative_l2 < 1e-13
    assert found_by.finite_differences is not None and found_by.finite_differences < 1e-9
    with (
        np.load(tmp_path / "run" / gradient.arrays) as ours,
        np.load(tmp_path / "run" / torch["gradient", "eager", "float64"].arrays) as theirs,
    ):
        for name in ("y", "W", "turned", "s"):
            assert ours[name].shape == theirs[name].shape
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-13)
        np.testing.assert_allclose(ours["gradient"][-4:], 0)  # it depends on no element of `unused`
    jvp = found["jvp", "forwarddiff", "float64"].agreement
    assert jvp is not None and jvp.identity is not None and jvp.identity < 1e-13


@pytest.mark.thorough
def test_mooncake_gives_all_derivatives(run: Runner, julia: Search, tensors: str) -> None:
    pytest.importorskip("torch")
    request = plan.Request((tensors,), operators=("gradient", "jvp", "hvp"), engines=("eager", "mooncake"))
    found = by_engine(run(request, julia=julia), "julia")
    assert len([engine for _, engine, _ in found if engine == "mooncake"]) == 3
    for record in found.values():
        if "needs the Julia package" in record.reason:
            pytest.skip(record.reason)
        assert record.outcome == "ok", record.reason


SHORT = "import numpy as np\n\n\ndef draw(seed):\n    return {'x': np.ones(2)}, {'y': np.arange(6.0).reshape(2, 3)}\n"

MISTAKES = {
    "syntax": ("x = 1\nloss(params, data) = sum(params.x\n", "on_julia.jl:2: syntax error", ""),
    "top": ("\nsqr(3)\n", "on_julia.jl:2: UndefVarError: `sqr` not defined", ""),
    "missing": ("los(params, data) = 1.0\n", "on_julia.jl: the file has no function loss; write `loss(params", ""),
    "signature": ("loss(params) = 1.0\n", "on_julia.jl: loss must take two arguments, params and data", ""),
    "array": ("loss(params, data) = 2 .* params.x\n", "on_julia.jl: loss returns an array of shape (2,); it must", ""),
    "zero": ("loss(params, data) = fill(sum(params.x))\n", "on_julia.jl: loss returns an array without dimensions", ""),
    "complex": ("loss(params, data) = im * sum(params.x)\n", "on_julia.jl: loss returns a complex number; take", ""),
    "nothing": ("loss(params, data) = nothing\n", "on_julia.jl: loss returns Nothing, which cannot be", ""),
    "integer": ("loss(params, data) = 3\n", "on_julia.jl: loss returns int64, which cannot be differentiated", ""),
    "type": ("loss(params, data) = Float32(sum(params.x))\n", "loss returns float32 where parameters and data", ""),
    "finite": (
        "loss(params, data) = log(0 * sum(params.x))\n",
        "on_julia.jl: loss is -inf at these inputs; it must",
        "",
    ),
    "changes": ("loss(params, data) = (data.y[1, 2] = 7; sum(params.x))\n", "loss changes its input 'y' in place", ""),
    "runs": (
        "function loss(params, data)\n    y = 2 .* data.y\n    return params.x * y\nend\n",
        "on_julia.jl:3: DimensionMismatch",
        "",
    ),
    "key": ("loss(params, data) = sum(params.w)\n", "on_julia.jl:1: ", ""),
    "writes": (
        "function loss(params, data)\n    y = zeros(eltype(params.x), 2)\n    y[1] = params.x[1]^2\n"
        "    return sum(y)\nend\n",
        "on_julia.jl:1: Mutating arrays is not supported",
        "--engine forwarddiff, or --engine mooncake",
    ),
    "package": (
        "\nusing NoSuchPackage\nloss(params, data) = 1.0\n",
        "on_julia.jl:2: the package NoSuchPackage is not installed; julia --project=",
        "-e 'using Pkg; Pkg.add(\"NoSuchPackage\")'",
    ),
    "output": (
        'loss(params, data) = sum(params.x)\noutputs(params, data) = (a = "b",)\n',
        "on_julia.jl: outputs gives a String for 'a'; it must be an array or a number",
        "",
    ),
    "complex_output": (
        "loss(params, data) = sum(params.x)\noutputs(params, data) = (a = [1im 2],)\n",
        "on_julia.jl: the output 'a' is complex; give its real and imaginary parts two names",
        "",
    ),
    "outputs": (
        "loss(params, data) = sum(params.x)\noutputs(params, data) = Dict(:a => 1)\n",
        "on_julia.jl: outputs must return a named tuple of arrays and numbers, not a Dict",
        "",
    ),
}
"""By name: the file, and what must be told of it."""

WORKER = """
import io, json, sys
from pathlib import Path

import numpy as np

from diffprog import tasks
from diffprog.records import protocol
from diffprog.worker.serve import Worker
import dataclasses

where, precision, engine = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
worker = Worker(io.BytesIO())
opened = worker.answer(protocol.Open("julia", precision, "cpu", 1, protocol.VERSION))
assert isinstance(opened, protocol.Ready), opened
told = {}
for folder in sorted(path for path in where.iterdir() if (path / "task.py").exists()):
    task = tasks.add(folder)
    config = task.configure("model", "tiny")
    drawn = task.draw(config, 0)
    inputs = where / f"{folder.name}.npz"
    np.savez(inputs, directions=np.ones((1, drawn["params"].size)), **drawn)
    common = dict(config=dataclasses.asdict(config), folder=str(folder))
    request = protocol.Prepare(task.name, "model", "tiny", "engine", str(inputs), engine=engine, **common)
    reply = worker.answer(request)
    if isinstance(reply, protocol.Ready):
        reply = worker.answer(protocol.Measure(0, 0.0, str(where / "arrays.npz")))
    told[folder.name] = [getattr(reply, "outcome", "ok"), getattr(reply, "reason", "")]
print("told:", json.dumps(told))
"""


def asked(folder: Path, julia: Search, precision: str = "float64", engine: str = "zygote") -> dict[str, list[str]]:
    """Outcome and reason of the tasks within a folder, by one worker's code in one process."""
    env = environment("float64", "cpu", 1, julia.julia, ("PYTHON_JULIACALL_OPTIMIZE",))
    command = [sys.executable, "-c", WORKER, str(folder), precision, engine]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout.rpartition("told:")[2])
    return found


def test_mistakes_are_told_with_file_and_line(julia: Search, tmp_path: Path) -> None:
    for name, (text, _, _) in MISTAKES.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "task.py").write_text(SHORT)
        (tmp_path / name / "on_julia.jl").write_text(text)
    found = asked(tmp_path, julia)
    assert found.keys() == MISTAKES.keys()
    for name, (_, told, mend) in MISTAKES.items():
        outcome, reason = found[name]
        assert outcome == "error", name
        assert reason.startswith(str(tmp_path / name / "on_julia.jl")), reason
        assert told in reason and mend in reason, reason
        assert "\n" not in reason and len(reason) < 1200


def test_what_holds_for_a_precision_or_an_engine_is_told(julia: Search, tmp_path: Path) -> None:
    files = {
        "literal": "loss(params, data) = 0.5 * sum(params.x)\n",
        "stiff": "\nfunction loss(params, data)\n    y = zeros(Float32, 2)\n    y .= params.x\n    sum(y)\nend\n",
        "package": "using Trigonometry\n\nloss(params, data) = Trigonometry.twice(sum(params.x))\n",
    }
    for name, text in files.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "task.py").write_text(SHORT)
        (tmp_path / name / "on_julia.jl").write_text(text)
    (tmp_path / "right").mkdir()
    (tmp_path / "right" / "task.py").write_text(TASK)
    (tmp_path / "right" / "on_julia.jl").write_text(JULIA)
    project = '[deps]\nTrigonometry = "4a9c1c38-6f0c-4a39-9d4f-1f6fbc6dd7a1"\n'
    (tmp_path / "package" / "Project.toml").write_text(project)
    found = asked(tmp_path, julia, "float32", "forwarddiff")
    assert found["right"] == ["ok", ""]
    with np.load(tmp_path / "arrays.npz") as single:
        assert {single[name].dtype for name in ("gradient", "y", "W", "turned", "s")} == {np.dtype(np.float32)}
    outcome, reason = found["literal"]
    assert outcome == "error" and "loss returns float64 where parameters and data are float32" in reason
    assert "write 0.5f0" in reason
    outcome, reason = found["stiff"]
    assert outcome == "error" and reason.startswith(f"{tmp_path / 'stiff' / 'on_julia.jl'}:4: MethodError"), reason
    assert "eltype" in reason
    outcome, reason = found["package"]
    assert outcome == "error" and "Trigonometry is not installed" in reason
    assert f"julia --project={tmp_path / 'package'} -e 'using Pkg; Pkg.instantiate()'" in reason


def test_a_task_may_have_packages_of_its_own(run: Runner, julia: Search, tmp_path: Path) -> None:
    uuid = "4a9c1c38-6f0c-4a39-9d4f-1f6fbc6dd7a1"
    files = {
        "task.py": SHORT,
        "on_julia.jl": "using Trigonometry\n\nloss(params, data) = twice(sum(abs2, params.x))\n",
        "Project.toml": f'[deps]\nTrigonometry = "{uuid}"\n',
        "Manifest.toml": f"""manifest_format = "2.0"

[[deps.Trigonometry]]
path = "Trigonometry"
uuid = "{uuid}"
version = "0.1.0"
""",
        "Trigonometry/Project.toml": f'name = "Trigonometry"\nuuid = "{uuid}"\nversion = "0.1.0"\n',
        "Trigonometry/src/Trigonometry.jl": "module Trigonometry\nexport twice\ntwice(x) = 2x\nend\n",
    }
    (record,) = run(plan.Request((made(tmp_path, files),)), julia=julia)
    assert (record.outcome, record.value) == ("ok", 4.0), record.reason
