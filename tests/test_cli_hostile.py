"""Whatever a command is given ends in one sentence and exit code 2; nothing of it is run, or read as markup."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffprog.cli import console
from diffprog.cli import run as cli_run
from diffprog.errors import UsageError
from diffprog.run import driver
from diffprog.run.doctor import Finding
from tests.command_line import COMMANDS, NEEDED, Option, call, options, refused

OPTIONS = [option for option in options() if option.kind is not bool]
NUMBERS = [option for option in OPTIONS if option.kind in (int, float)]
PATHS = [option for option in OPTIONS if option.kind is Path]
TEXTS = [option for option in OPTIONS if option.kind is str]
NO_NAMES = ("--julia-exe", "--julia-project", "--fail-on")
NO_NUMBER = (
    "",
    " ",
    "nan",
    "NaN",
    "-nan",
    "inf",
    "-inf",
    "Infinity",
    "1e400",
    "-1",
    "-1e-3",
    "x",
    "1e",
    "[/b]",
    "9" * 30,
)
BAD_SEEDS = ("-1", "9223372036854775808", "1.5", "nan", "9" * 5000, "1,-1", "one")
MARKUP = ("[/b]", "[bold]x", "[link=x]", "<script>", "$x$", "`a`|b", "*a*_b_", "a[0m", "a\x1b[31m", "a\nb", "a\u202eb")
BAD_PATHS = ("", " ", "a\x1b[31mb", "a\nb", "a\x00b", "a\udcff", "x" * 300, "/".join(["y" * 200] * 25))


@pytest.fixture(autouse=True)
def _nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In an empty folder, and no run gets as far as making another."""

    def forbidden(*args: Any, **named: Any) -> None:
        raise AssertionError("the run began")

    monkeypatch.setattr(driver, "make_folder", forbidden)
    monkeypatch.chdir(tmp_path)


def test_every_command_and_option_is_seen() -> None:
    assert {name for name, *_ in COMMANDS} >= {"run", "fit", "report", "compare", "baseline", "precision", "bridge"}
    assert len(NUMBERS) > 15
    assert {option.flag for option in PATHS} >= {"--out", "--markdown", "--config", "--baselines"}


@pytest.mark.parametrize("option", NUMBERS, ids=str)
def test_every_number_has_a_range(option: Option) -> None:
    assert option.info.min is not None
    assert option.info.max is not None
    assert option.kind is int or option.info.callback is not None  # NaN is within any range


@pytest.mark.parametrize("option", NUMBERS, ids=str)
def test_what_is_no_number_in_range_is_refused(option: Option) -> None:
    for text in NO_NUMBER:
        assert option.flag in refused(call(*option.given(text)))


@pytest.mark.parametrize("text", BAD_SEEDS)
def test_seeds_that_make_no_sense_are_refused(text: str) -> None:
    assert "seed" in refused(call("run", f"--seed={text}"))


def test_the_largest_seed_is_taken() -> None:
    assert cli_run._seeds((str(2**63 - 1),)) == (2**63 - 1,)


@pytest.mark.parametrize("option", TEXTS, ids=str)
@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_nothing_is_not_everything(option: Option, text: str) -> None:
    assert option.flag in refused(call(*option.given(text)))


@pytest.mark.parametrize("option", PATHS, ids=str)
def test_paths_that_cannot_be_are_refused(option: Option) -> None:
    for text in BAD_PATHS:
        refused(call(*option.given(text)))


@pytest.mark.parametrize("command", [("report",), ("compare", "here"), ("fit",), ("precision",)], ids=" ".join)
def test_arguments_that_cannot_be_are_refused(command: tuple[str, ...]) -> None:
    for text in BAD_PATHS:
        refused(call(*command, "--", text))


@pytest.mark.parametrize("option", [option for option in TEXTS if option.flag not in NO_NAMES], ids=str)
def test_unknown_names_are_told_as_they_are(option: Option) -> None:
    for text in MARKUP:
        told = refused(call(*option.given(text)))
        assert repr(text)[1:-1] in told or "seed" in told


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters=",\0"), min_size=1).filter(str.strip))
def test_any_unknown_task_is_told_as_it_is(text: str) -> None:
    told = refused(call("run", f"--task={text}"))
    folder = any(said in told for said in ("does not exist", "is no task", "is not a folder"))  # with a separator in it
    assert repr(text.strip()) in told or "cannot" in told or folder
    assert "\x1b" not in told


@given(st.text(max_size=20))
def test_what_is_printed_is_what_was_said(text: str) -> None:
    """No markup, emoji codes or highlighting, and no character that acts on a terminal, in any of the ways out."""

    def printed() -> str:
        with console.out.capture() as found:
            console.say(f"<{text}>")
            console.out.print(f"<{text}>", soft_wrap=True)
        return found.get()

    shown = printed()
    for acting in ("\x1b", "\x07", "\x9b", "\u202e", "\r", "\x08"):
        assert acting not in shown
    if text.isprintable():
        assert shown == f"<{text}>\n" * 2


def test_progress_shows_users_text_as_it_is() -> None:
    bars = console.progress_bars()
    bars.add_task("[/b] [red]x[/red] :smile:", total=1)
    with console.out.capture() as found:
        console.out.print(bars.get_renderable())
    assert "[/b] [red]x[/red] :smile:" in found.get()


def test_doctor_shows_the_whole_command(monkeypatch: pytest.MonkeyPatch) -> None:
    mend = "pip install 'jax[cuda12]'"
    found = [Finding("jax", "cuda", "[/b]", reason="there is no [cuda] :x:", mend=mend)]
    monkeypatch.setattr("diffprog.run.doctor.examine", lambda search, threads: found)
    done = call("doctor")
    assert done.returncode == 0, done
    for text in ("[/b]", "[cuda] :x:", "jax[cuda12]"):
        assert text in done.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_shows_all_of_every_text(command: tuple[str, ...]) -> None:
    """Brackets and angles in a text of the help are no markup: ``[default: reports/TIME]`` is whole."""
    done = call(*command, "--help")
    assert done.returncode == 0
    shown = "".join(done.stdout.replace("│", " ").split())
    for option in options():
        if option.command == command and option.info.help:
            words = option.info.help.replace("`", "").split()  # backquotes are the suite's own markup
            assert "".join(words) in shown or all(word in shown for word in words), option


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--task", "qcmb"], "did you mean 'qcbm'?"),
        (["run", "--backend", "PyTorch"], "did you mean 'torch'?"),
        (["run", "--method", "revers"], "did you mean 'reverse'?"),
        (["run", "--variant", "gausian"], "did you mean 'gaussian'?"),
        (["run", "--precision", "float64,float46"], "did you mean 'float64'?"),
        (["fit", "qcmb"], "did you mean 'qcbm'?"),
        (["fit", "qcbm", "--optimiser", "adma"], "did you mean 'adam'?"),
        (["fit", "qcbm", "--method", "revrse"], "did you mean 'reverse'?"),
        (["precision", "flwo"], "did you mean 'flow'?"),
        (["baseline", "check", "--engine", "compil"], "did you mean 'compile'?"),
        (["compare", "a", "b", "--fail-on", "slow"], "did you mean 'slower'?"),
        (["run", "--tsk", "qcbm"], "--task"),
        (["rnu"], "run"),
    ],
)
def test_the_nearest_name_is_told(arguments: list[str], told: str) -> None:
    assert told in refused(call(*arguments))


def test_folders_that_are_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    for option in (option for option in PATHS if option.flag in ("--out", "--baselines")):
        assert "is a file" in refused(call(*option.given(str(file))))
    os.mkfifo(tmp_path / "pipe")
    assert "is a file" in refused(call("run", "--out", str(tmp_path / "pipe")))
    assert "no" in refused(call("report", str(file)))
    assert file.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("command", [("compare", "a", "b"), ("run", "--versus", "x")], ids=" ".join)
def test_where_no_markdown_can_be_written_is_told_first(command: tuple[str, ...], tmp_path: Path) -> None:
    assert "cannot be written" in refused(call(*command, "--markdown", str(tmp_path / "nowhere" / "x.md")))
    assert "is a folder" in refused(call(*command, "--markdown", str(tmp_path)))


def test_workers_that_cannot_be_started_are_refused(tmp_path: Path) -> None:
    files = {"text": "print(1)\n", "empty": "", "lost": "#!/nowhere/python\n", "none": "#!\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "plain").write_text("#!/bin/sh\n", encoding="utf-8")

    def told(worker: str) -> str:
        return refused(call("run", "--worker", worker))

    assert "No closing quotation" in told('rust=./w "a')
    assert "No escaped character" in told("rust=./w \\")
    assert "no program" in told(f"rust={tmp_path / 'text'}")
    assert "no program" in told(f"rust={tmp_path / 'empty'}")
    assert "/nowhere/python" in told(f"rust={tmp_path / 'lost'}")
    assert "no such program" in told(f"rust={tmp_path / 'none'}")
    assert "not executable" in told(f"rust={tmp_path / 'plain'}")
    assert "is a folder" in told(f"rust={tmp_path}")
    assert "cannot be looked up" in told("rust=" + "x" * 300) or "there is no program" in told("rust=" + "x" * 300)
    assert "there is no program" in told("rust=nothing-of-the-kind")
    assert "NAME=COMMAND" in told("r" * 33 + f"={sys.executable}")
    assert "two workers" in refused(
        call("run", "--worker", f"rust={sys.executable}", "--worker", f"rust={sys.executable} -q")
    )


@given(st.text(max_size=30))
def test_any_worker_is_a_sentence(text: str) -> None:
    refused(call("run", f"--worker=rust={text}/nowhere"))
    refused(call("run", f"--worker={text}-"))


def test_more_threads_than_there_are_processors_are_refused() -> None:
    assert "this process may use" in refused(call("run", "--threads", "4096"))


def test_a_fault_is_one_sentence_and_its_traceback_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*args: Any, **named: Any) -> None:
        raise RuntimeError("[/b] and\na second line")

    monkeypatch.setattr("diffprog.tasks.get", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = call("list")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "RuntimeError: [/b] and\\na second line" in done.stderr
    (file,) = tmp_path.glob("diffprog-*.txt")
    assert file.name in done.stderr
    assert "Traceback" in file.read_text(encoding="utf-8")


def test_exceptions_are_told_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **named: Any) -> None:
        raise UsageError("one [/b]\x1b[31m\ntwo")

    monkeypatch.setattr("diffprog.tasks.get", fail)
    assert refused(call("list")) == "diffprog: one [/b]\\x1b[31m\\ntwo"


def test_what_follows_from_ctrl_c_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **named: Any) -> None:
        console.stop.asked = True
        raise ImportError("half imported")

    monkeypatch.setattr("diffprog.tasks.get", fail)
    done = call("list")
    assert done.returncode == 130
    assert "Stopped." in done.stderr


def test_required_arguments_are_all_named() -> None:
    for name, arguments in NEEDED.items():
        refused(call(name, *arguments[:-1]))
