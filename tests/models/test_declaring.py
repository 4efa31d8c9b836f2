"""A folder's task.py: what it may leave out, and what is said of one that is wrong, before anything is run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from diffprog import tasks
from diffprog.errors import UsageError
from diffprog.models import declaring, loading
from diffprog.run import environment
from tests.command_line import call, refused
from tests.models.conftest import JAX, NUMPY, TASK, TORCH, Folder

RETURN = "return params, data"


def returning(params: str = "params", data: str = "data") -> str:
    return TASK.replace(RETURN, f"return {params}, {data}")


def setting(line: str, draw: str = "seed") -> str:
    return TASK.replace("def draw(seed)", f"{line}\n\n\ndef draw({draw})")


MISTAKES = {
    "syntax": (TASK.replace("draw(seed):", "draw(seed)"), "task.py:4: expected ':'"),
    "no draw": ("x = 1\n", r"task.py: the file has no function draw; write `def draw\(seed\):`"),
    "import": ("import nowhere\n" + TASK, "task.py:1: there is no module nowhere: .*python -m pip install nowhere"),
    "top level": ("{}['x']\n" + TASK, "task.py:1: KeyError: 'x'"),
    "exit": ("raise SystemExit(3)\n" + TASK, r"task.py:1: it ends Python \(SystemExit: 3\)"),
    "in draw": (TASK.replace("    params", "    rng.nothing()\n    params"), "task.py:6: AttributeError: .*nothing"),
    "exit in draw": (TASK.replace("    params", "    exit()\n    params"), "task.py:6: it ends Python"),
    "no seed": (TASK.replace("draw(seed)", "draw(size, seed=0)").replace("(size, seed=0)", "()"), "must take a seed"),
    "other arguments": (TASK.replace("draw(seed)", "draw(seed, scale)"), "draw takes 'scale'; it may take seed, varia"),
    "one dict": (TASK.replace(RETURN, "return params"), r"draw must return two dicts, params and data: `return params"),
    "nothing": (TASK.replace(RETURN, "pass"), "task.py: draw must return two dicts, params and data"),
    "a list": (returning(params="[1.0]"), "draw: params is a list; it must be a dict of names and arrays"),
    "an array": (returning(data="np.ones(3)"), "draw: data is a ndarray; it must be a dict"),
    "no params": (returning(params="{}"), "draw: params is empty: there is nothing to differentiate by"),
    "empty": (returning(params="{'W': np.ones((0, 2))}"), r"the parameter 'W' has no elements \(shape \(0, 2\)\)"),
    "complex": (returning(params="{'W': 1j}"), "the parameter 'W' is complex; .*give its real and imaginary parts two"),
    "boolean": (returning(params="{'W': True}"), "the parameter 'W' is boolean; parameters are real numbers"),
    "words": (returning(params="{'W': 'abc'}"), "the parameter 'W' is <U3; parameters are real numbers"),
    "nan": (returning(params="{'W': np.nan}"), "'W' in params is not finite everywhere"),
    "inf": (returning(data="{'X': [1, np.inf]}"), "'X' in data is not finite everywhere"),
    "ragged": (returning(data="{'X': [[1], [1, 2]]}"), "'X' in data is no array"),
    "objects": (
        returning(data="{'X': [None]}"),
        "data 'X' is of dtype object; it may be floating, complex, integer or",
    ),
    "large": (returning(data="{'X': np.uint64(2**63)}"), "'X' in data has integers beyond 64 bits"),
    "no name": (returning(params="{'my W': 1.0}"), "'my W' in params is no name: letters, digits and _ make one"),
    "a number": (returning(params="{0: 1.0}"), "0 in params is no name"),
    "twice": (returning(data="{'W': 1.0}"), "'W' is among the params and the data: give one of them another name"),
    "taken": (returning(data="{'params': 1.0}"), "data may not be called 'params': inputs of the suite's own are"),
    "taken for fits": (returning(data="{'batches_X': 1.0}"), "data may not be called 'batches_X'"),
    "no seed used": (TASK.replace("default_rng(seed)", "default_rng()"), "draw gives another 'W' for the same seed"),
    "global numbers": (
        returning(data="{'X': np.random.rand(3)}"),
        "draw gives another 'X' for the same seed: draw all",
    ),
    "global state": (
        "CALLS = []\n" + returning(data="{'X': len(CALLS)}").replace("    rng", "    CALLS.append(0)\n    rng"),
        "draw gives another 'X' for the same seed",
    ),
    "growing": (
        "CALLS = []\n"
        + returning(data="{'X': np.ones(len(CALLS))}").replace("    rng", "    CALLS.append(0)\n    rng"),
        "draw gives another 'X' for the same seed",
    ),
    "tolerance": (setting("TOLERANCE = 'small'"), "task.py: TOLERANCE must be a number, not 'small'"),
    "no tolerance": (setting("TOLERANCE = 0"), "TOLERANCE is 0; it is a relative error between 0 and 1"),
    "misspelt": (setting("TOLERANCES = 1e-3"), "TOLERANCES is no setting of a task; did you mean TOLERANCE?"),
    "sizes": (
        setting("SIZES = ['huge']", "seed, size"),
        "SIZES has 'huge'; sizes are called tiny, small, medium, large",
    ),
    "no sizes": (setting("SIZES = []"), "SIZES must be a list of different names"),
    "size unused": (setting("SIZES = ['tiny', 'small']"), "there are 2 sizes, so draw must take 'size'"),
    "variants": (setting("VARIANTS = 'a'"), "VARIANTS must be a list of different names, not 'a'"),
    "variant": (setting("VARIANTS = ['a b']"), "'a b' in VARIANTS is no name: letters, digits, - and _ make one"),
    "variant unused": (setting("VARIANTS = ['a', 'b']"), "there are 2 variants, so draw must take 'variant'"),
    "fit": (setting("FIT = {'epochs': 3}"), 'FIT may hold "steps" and "rate"'),
    "no fit": (setting("FIT = {'steps': 0}"), "FIT must have a number of steps and a positive rate"),
    "bound": (setting("BOUND = 'low'"), "BOUND is a str; it is a number, the least that the loss can be"),
}


@pytest.mark.parametrize(("task", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_task_py_is_one_sentence(folder: Folder, tmp_path: Path, task: str, told: str) -> None:
    home = folder(task=task, torch=TORCH)
    sentence = refused(call("run", "--task", str(home), "--out", str(tmp_path / "run")))
    assert re.search(told, sentence), sentence
    assert str(home / "task.py") in sentence
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_none_is_told_how_to_make_one(folder: Folder, tmp_path: Path) -> None:
    for command in (["run", "--task"], ["fit"], ["baseline", "write", "--task"], ["baseline", "check", "--task"]):
        sentence = refused(call(*command, str(tmp_path / "nowhere")))
        assert f"{tmp_path / 'nowhere'} does not exist; `diffprog new nowhere` makes the folder of a task" in sentence
    (tmp_path / "file").touch()
    assert f"{tmp_path / 'file'} is not a folder" in refused(call("fit", str(tmp_path / "file")))
    (tmp_path / "empty").mkdir()
    assert "is no task: it has no task.py" in refused(call("fit", str(tmp_path / "empty")))
    assert "has no model: write loss(params, data) into one of on_numpy.py, on_torch.py" in refused(
        call("fit", str(folder("bare")))
    )
    home = folder("by-value", numpy=NUMPY)
    assert (
        "by-value has no gradient: NumPy differentiates nothing; write loss(params, data) into one of on_t"
        in refused(call("run", "--task", str(home)))
    )
    home = folder("9lives", torch=TORCH)
    assert "9lives cannot name a task: letters, digits, - and _ make a name" in refused(
        call("run", "--task", str(home))
    )


def test_what_it_is_not_written_for_is_told(folder: Folder) -> None:
    home = str(folder(torch=TORCH))
    assert "task mine is not written for jax: there is no on_jax.py in" in refused(
        call("run", "--task", home, "--backend", "jax")
    )
    assert "there is no size of task mine 'large'; there are: tiny" in refused(
        call("run", "--task", home, "--size", "large")
    )
    assert "there is no variant 'gaussian'; there are: model" in refused(
        call("run", "--task", home, "--variant", "gaussian")
    )


def test_a_file_that_would_hide_behind_a_library_is_refused(folder: Folder) -> None:
    home = folder(torch=TORCH, others={"json.py": "x = 1\n"})
    sentence = refused(call("run", "--task", str(home)))
    assert "json.py would not be imported: Python has another module called json; rename the file" in sentence


def test_task_py_brings_no_framework_into_every_process(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declaring, "FRAMEWORKS", ("wave",))  # as if it were one: no test has it loaded already
    sys.modules.pop("wave", None)
    home = folder(task="import wave\n" + TASK, torch=TORCH)
    with pytest.raises(
        UsageError, match="imports wave, which would then be in the process of every backend: import it"
    ):
        declaring.task(home)
    sys.modules.pop("wave", None)
    (home / "task.py").write_text(TASK.replace("    rng", "    import wave\n    rng"))
    config = declaring.task(home).configure("model", "tiny")
    assert config.parameters == 8


def test_two_folders_may_have_a_module_of_one_name(folder: Folder) -> None:
    """What is imported from beside a file is its own folder's, at once and when draw is called."""
    task = "import common\n" + returning(params="{'W': later()}").replace(
        "def draw", "def later():\n    import helper\n    return helper.X + common.X\n\n\ndef draw"
    )
    found = []
    for number, name in enumerate(("one", "two")):
        others = {"common.py": f"X = {number + 1}.0\n", "helper.py": f"X = {10 * (number + 1)}.0\n"}
        found.append(declaring.task(folder(name, task=task, torch=TORCH, others=others)))
    for number, one in enumerate([*found, found[0]]):
        given = one.draw(one.configure("model", "tiny"), 0)
        assert given["params"] == 11.0 * (number % 2 + 1)
    assert not {"common", "helper"} & {*sys.modules}


def test_all_else_has_a_default(folder: Folder) -> None:
    task = declaring.task(folder("my-model", torch=TORCH, jax=JAX))
    assert (task.name, task.title, task.variants, task.methods, task.sizes) == (
        "my-model", "my-model", ("model",), ("engine",), ("tiny",),
    )  # fmt: skip
    assert task.backends == ("torch", "jax")
    assert (task.tolerance, task.by_hand) == (1e-10, False)
    config = task.configure("model", "tiny")
    assert [(block.name, block.shape) for block in task.layout(config).blocks] == [("W", (3, 2)), ("b", (2,))]
    assert task.work(config) == {"parameters": 8}
    assert task.bound(config) is None
    assert task.fit is not None and (task.fit.steps, task.fit.rate) == (500, 0.01)
    given = task.draw(config, 0)
    assert {name: (array.dtype.name, array.shape) for name, array in given.items()} == {
        "params": ("float64", (8,)), "X": ("float64", (5, 3)), "y": ("int64", (5,)),
    }  # fmt: skip
    other = task.draw(config, 1)
    assert not np.array_equal(given["params"], other["params"])
    given["X"][:] = 0  # a copy: what one run does to it is not seen by the next
    assert task.draw(config, 0)["X"].any()


def test_settings_are_taken(folder: Folder) -> None:
    lines = (
        "TITLE = 'A title'\nTOLERANCE = 1e-6\nVARIANTS = ('a', 'b-c')\nSIZES = ['tiny', 'large']\n"
        "FIT = {'steps': 7, 'rate': 0.5}\nBOUND = -1"
    )
    text = setting(lines, "seed, size, variant").replace('"X": rng', '"extra": len(size) + len(variant), "X": rng')
    task = declaring.task(folder(task=text, torch=TORCH))
    assert (task.title, task.tolerance, task.variants, task.sizes) == ("A title", 1e-6, ("a", "b-c"), ("tiny", "large"))
    assert task.fit is not None and (task.fit.steps, task.fit.rate) == (7, 0.5)
    config = task.configure("b-c", "large")
    assert task.draw(config, 0)["extra"] == 8
    assert task.bound(config) == -1.0
    with pytest.raises(UsageError, match="has no variant 'c' of size 'tiny'; it has: a, b-c of tiny, large"):
        task.configure("c", "tiny")


def test_the_title_is_the_docstrings_first_line(folder: Folder) -> None:
    task = declaring.task(folder(task=f'"""What it is.\n\nMore."""\n{TASK}', torch=TORCH))
    assert task.title == "What it is."


def test_another_seed_must_have_the_same_parameters(folder: Folder) -> None:
    text = TASK.replace("size=(3, 2)", "size=(3, 2 + seed)")
    task = declaring.task(folder(task=text, torch=TORCH))
    with pytest.raises(
        UsageError, match="draw gives other parameters for seed 1 than for seed 0: 'W' must be of shape"
    ):
        task.draw(task.configure("model", "tiny"), 1)


def test_a_suite_task_and_another_folder_of_the_name_are_refused(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"two tasks are called flow: the one in .* and one of the suite; rename its"):
        tasks.add(folder("flow", torch=TORCH))
    tasks.add(folder(torch=TORCH))
    tasks.add(tmp_path / "mine")  # the same once more
    (tmp_path / "other").mkdir()
    (tmp_path / "mine").rename(tmp_path / "other" / "mine")
    with pytest.raises(UsageError, match="two tasks are called mine: ") as told:
        tasks.add(tmp_path / "other" / "mine")
    assert f"{tmp_path}/other/mine and the one in {tmp_path}/mine; rename its folder" in str(told.value)


def test_the_hash_is_of_what_workers_read(folder: Folder) -> None:
    home = folder(torch=TORCH, others={"data.csv": "1,2\n", "picture.py": "x = 1\n", "notes.md": "a\n"})
    before = loading.source_hash(home)
    (home / "picture.py").write_text("x = 2\n")
    (home / "notes.md").write_text("b\n")
    (home / "baselines").mkdir()
    (home / "baselines" / "mine.json").write_text("{}")
    assert loading.source_hash(home) == before
    (home / "data.csv").write_text("1,3\n")
    changed = loading.source_hash(home)
    assert changed != before
    (home / "on_torch.py").write_text(TORCH + "\n")
    assert loading.source_hash(home) not in (before, changed)


def test_it_is_hashed_as_it_is_now(folder: Folder) -> None:
    """Its author may be at work on it, in a session of Python that goes on."""
    home = folder(numpy=NUMPY + "\n\ndef gradient(params, data):\n    raise NotImplementedError\n")
    name = tasks.add(home).name
    first = environment.source_hash(name)
    assert environment.source_hash(name) == first
    (home / "on_numpy.py").write_text((home / "on_numpy.py").read_text() + "\n")
    assert environment.source_hash(name) != first
