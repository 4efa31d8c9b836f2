"""The commands with a task of a user's own: all that they do with the suite's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffprog import tasks
from diffprog.records.cells import Journal
from diffprog.run import folders, models
from tests.command_line import call, refused
from tests.models.conftest import BY_HAND, TORCH, Folder

ROOT = Path(__file__).parents[2]
QUICK = ("--samples", "0", "--no-report")


def run(home: Path, out: Path, *more: str) -> None:
    done = call("run", "--task", str(home), "--out", str(out), *QUICK, *more)
    assert done.returncode == 0, done.stdout + done.stderr


def elsewhere(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """A command in a process that knows nothing of what this one does."""
    command = [sys.executable, "-m", "diffprog", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def report(out: Path) -> tuple[str, str]:
    """The page, and what was said beside it."""
    done = elsewhere("report", str(out))
    return (out / "index.html").read_text(), done.stderr


PICTURE = """\
import numpy as np
from diffprog.drawing import style

OUTPUT = "rest"


def picture(case, inputs, shown):
    assert set(inputs) == {"w", "b", "X", "y"} and inputs["w"].shape == (3,)
    assert shown[0].arrays["rest"].shape == (20,) and shown[0].backend == "numpy"
    figure = style.figure(3.0)
    figure.subplots().plot(inputs["X"][:, 0], shown[0].arrays["rest"], ".", label=shown[0].name)
    return figure
"""


def test_a_run_keeps_where_its_model_lies(line: Path, tmp_path: Path) -> None:
    run(line, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "models.json").read_text())["line"]["folder"] == str(line)
    folders.check(tmp_path / "run", may_be=("a run",))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "models.json").touch()
    sentence = refused(call("run", "--task", str(line), "--out", str(tmp_path / "taken")))
    assert "holds models.json, which is not the suite's" in sentence


def test_a_report_finds_names_and_picture_again(line: Path, tmp_path: Path) -> None:
    (line / "picture.py").write_text(PICTURE)
    run(line, tmp_path / "run")
    page, told = report(tmp_path / "run")
    assert (tmp_path / "run" / "figures" / "line-model-tiny-seed0.png").is_file()
    assert "was not drawn" not in page
    assert "line has no reference by hand: numpy is what the others are judged by" in page
    assert "others now than when it was run" not in told

    (line / "on_numpy.py").write_text(BY_HAND + "\n\nMORE = 1\n")
    page, told = report(tmp_path / "run")
    assert f"The files of line in {line} are others now than when it was run." in page
    assert f"The files of line in {line} are others now than when it was run." in told

    shutil.rmtree(line)
    page, told = report(tmp_path / "run")
    gone = f"Without the names of parameters and the pictures of line: its folder {line} is gone."
    assert gone in page and gone in told
    assert "line-model-tiny-seed0" in page and "1 of 1 cell agrees" in page

    line.mkdir()
    page, _ = report(tmp_path / "run")
    assert "the pictures of line: " in page and "is no task: it has no task.py" in page


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def picture(case, inputs, shown):\n    return 1 / 0\n", "picture.py:2: ZeroDivisionError: division by zero"),
        ("def picture(case, inputs, shown:\n", r"picture.py:1: '\(' was never closed"),
        ("x = 1\n", "picture.py: the file has no function picture; write `def picture"),
        ("def picture(case, inputs, shown):\n    return 3\n", "returns a int; it must return a matplotlib Figure"),
        (PICTURE.replace('"rest"\n', '"best"\n'), "no backend gives the output 'best', which OUTPUT names"),
        (PICTURE.replace("    return", "    figure.text(0, 0, 'x', size='no')\n    return"), "ValueError: "),
        ("import nowhere\n", "picture.py:1: there is no module nowhere"),
        ("import sys\n\n\ndef picture(case, inputs, shown):\n    sys.exit()\n", "picture.py:5: it ends Python"),
    ],
    ids=["raises", "syntax", "none", "no-figure", "no-output", "cannot-be-saved", "import", "exit"],
)  # fmt: skip
def test_a_picture_that_fails_costs_the_report_nothing(line: Path, tmp_path: Path, text: str, told: str) -> None:
    (line / "picture.py").write_text(text)
    done = call("run", "--task", str(line), "--out", str(tmp_path / "run"), "--samples", "0")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "run" / "index.html").read_text()
    (sentence,) = re.findall("<li>(A picture of line was not drawn: .*)</li>", page)
    plain = sentence.replace("&#39;", "'").replace("&#34;", '"')
    assert re.search(told, plain), plain
    assert str(line) in plain
    assert plain in done.stderr


def test_a_picture_without_output_and_from_pyplot_is_drawn(line: Path, tmp_path: Path) -> None:
    (line / "picture.py").write_text(
        "import matplotlib\n\nmatplotlib.use('agg')\nimport matplotlib.pyplot as plt\n\n\n"
        "def picture(case, inputs, shown):\n    figure, axes = plt.subplots()\n"
        "    axes.plot(shown[0].arrays['gradient'])\n    plt.close(figure)\n    return figure\n"
    )
    run(line, tmp_path / "run")
    page, told = report(tmp_path / "run")
    assert "was not drawn" not in page + told
    assert (tmp_path / "run" / "figures" / "line-model-tiny-seed0.svg").is_file()


def test_resume_goes_on_with_what_the_folder_holds(line: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    elsewhere("run", "--task", str(line), "--out", str(out), *QUICK)
    first = Journal(out).read()
    # Without --task: its own tasks, not all that there are.
    elsewhere("run", "--out", str(out), "--resume", "--seed", "0,1", *QUICK)
    again = Journal(out).read()
    assert again[:1] == first  # measured once
    assert [(record.task, record.seed, record.outcome) for record in again] == [("line", 0, "ok"), ("line", 1, "ok")]
    shutil.move(line, tmp_path / "moved")
    told = elsewhere("run", "--out", str(out), "--resume", *QUICK, code=2).stderr
    assert f"{line} does not exist" in told


def test_resume_refuses_a_model_that_has_changed(line: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    elsewhere("run", "--task", str(line), "--out", str(out), *QUICK)
    (line / "on_numpy.py").write_text(BY_HAND.replace("2 * r.mean()", "r.mean() + r.mean()"))
    told = elsewhere("run", "--out", str(out), "--resume", *QUICK, code=2).stderr
    assert "sources of line was" in told and "--remeasure" in told
    elsewhere("run", "--out", str(out), "--resume", "--remeasure", *QUICK)
    page, told = report(out)
    assert "others now than when it was run" not in page + told


def test_two_runs_are_compared_with_the_parameters_named(line: Path, tmp_path: Path) -> None:
    run(line, tmp_path / "before")
    # A little off, within finite differences' reach and not within a gradient's tolerance.
    other = BY_HAND.replace('"b": 2 * r.mean()', '"b": 2 * r.mean() * (1 + 3e-9)')
    (line / "on_numpy.py").write_text(other)
    elsewhere("run", "--task", str(line), "--out", str(tmp_path / "after"), *QUICK)
    told = elsewhere("compare", str(tmp_path / "before"), str(tmp_path / "after"), code=1).stdout
    assert "1 regressed" in told and "sources of line" in told
    assert re.search(r"\bb\b", told[: told.index("sources of line")]), told


def test_two_checkouts_measure_it_in_turn(line: Path, tmp_path: Path) -> None:
    (tmp_path / "other" / "suite").mkdir(parents=True)
    shutil.copytree(
        ROOT / "suite" / "diffprog",
        tmp_path / "other" / "suite" / "diffprog",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copytree(ROOT / "julia", tmp_path / "other" / "julia")
    done = call(
        "run", "--task", str(line), "--versus", str(tmp_path / "other"), "--out", str(tmp_path / "both"),
        "--seconds", "0", "--no-report",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    before, after = (Journal(tmp_path / "both" / name).read()[0] for name in ("before", "after"))
    assert before.outcome == after.outcome == "ok"
    assert before.provenance is not None and after.provenance is not None
    assert before.provenance.session == after.provenance.session != ""
    assert before.provenance.source == after.provenance.source
    assert "1 cell in both runs: 1 same" in done.stdout
    assert models.read(tmp_path / "both" / "before") == models.read(tmp_path / "both" / "after") != {}


def test_it_is_fitted_and_what_was_learned_is_drawn(line: Path, tmp_path: Path) -> None:
    (line / "learned.py").write_text(
        "from diffprog.drawing import style\n\n\n"
        "def picture(case, inputs, learned):\n"
        "    assert inputs['w'].shape == (3,) and learned[0].arrays['theta'].shape == (4,)\n"
        "    figure = style.figure(3.0)\n    figure.subplots().plot(learned[0].arrays['rest'])\n"
        "    return figure, 'what is left'\n"
    )
    done = call("fit", str(line), "--steps", "30", "--rate", "0.1", "--out", str(tmp_path / "fit"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "was not drawn" not in done.stderr
    page = (tmp_path / "fit" / "index.html").read_text()
    assert "what is left" in page
    with np.load(tmp_path / "fit" / "arrays" / "line-model-tiny-seed0" / "fit-numpy-engine-lbfgs.npz") as file:
        assert np.allclose(file["theta"][:3], [1.0, -2.0, 0.5], atol=0.2)
    (line / "learned.py").write_text("def picture(case, inputs, learned):\n    raise ValueError('no')\n")
    page, told = report(tmp_path / "fit")
    assert f"A picture of line was not drawn: {line}/learned.py:2: ValueError: no." in told
    assert "learned.py:2: ValueError: no" in page
    shutil.rmtree(line)
    page, told = report(tmp_path / "fit")
    assert "its folder" in told and "is gone" in page


def test_its_baseline_lies_beside_it(line: Path) -> None:
    """And holds the operators that somebody can do: nobody wrote a jvp by hand."""
    assert "there is no baseline" in refused(call("baseline", "check", "--task", str(line)))
    done = call("baseline", "write", "--task", str(line))
    assert done.returncode == 0, done.stderr
    kept = json.loads((line / "baselines" / "line.json").read_text())
    assert list(kept["cases"][0]["derivatives"]) == ["gradient"]
    done = call("baseline", "check", "--task", str(line))
    assert done.returncode == 0, done.stderr
    assert "numpy: 1 cells against the baselines, 0 regressed" in done.stdout
    assert "lie in different folders" in refused(call("baseline", "check", "--task", f"{line},flow"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_baseline_is_written_and_holds_what_comes_later(folder: Folder, tmp_path: Path) -> None:
    home = folder(torch=TORCH)
    done = call("baseline", "write", "--task", str(home))
    assert done.returncode == 0, done.stderr
    assert str(home / "baselines" / "mine.json") in done.stdout
    done = call("baseline", "check", "--task", str(home))
    assert done.returncode == 0, done.stderr
    assert "torch: 3 cells against the baselines, 0 regressed" in done.stdout
    (home / "on_torch.py").write_text(TORCH.replace("+ (Z[:, 1]", "+ (params['b'] ** 2).sum() + (Z[:, 1]"))
    done = call("baseline", "check", "--task", str(home), "--operator", "gradient")
    assert done.returncode == 1
    assert "the gradient is off the baseline by" in done.stderr and "worst at b[" in done.stderr
    (home / "task.py").write_text((home / "task.py").read_text().replace("normal(size=2)", "normal(size=2) + 1"))
    stale = elsewhere("baseline", "check", "--task", str(home), code=2)
    assert "is stale: the suite draws other inputs now" in stale.stderr


def test_it_has_no_ladder_of_precision(line: Path) -> None:
    told = refused(call("precision", str(line)))
    assert "task line has no ladder of precision: the suite cannot vary what only the loss knows of" in told


def test_it_is_listed_with_where_it_comes_from(line: Path) -> None:
    done = call("list", str(line))
    assert done.returncode == 0
    assert f"from: {line}" in done.stdout and "backends: numpy" in done.stdout
    assert "flow" not in done.stdout
    assert "there is no task 'nothing'; the tasks are:" in refused(call("list", "nothing"))
    done = call("list")
    for name in tasks.NAMES:
        assert f"{name}: {tasks.get(name).title[:30]}" in done.stdout
    assert done.stdout.count("from: the suite") == len(tasks.NAMES)
