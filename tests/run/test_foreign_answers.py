"""A worker is a program of anybody's: what it says wrongly costs the cell it says it of, and no more."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from diffprog.records import protocol
from diffprog.records.cells import Journal, Memory, Record, Seconds
from diffprog.run import answers, driver, files, plan
from diffprog.run.workers import Worker, WorkerDied
from diffprog.spec import Case

LYING = str(Path(__file__).with_name("lying_worker.py"))
LIES = {
    "no gradient": "lack `gradient`", "no value": "lack `value`", "text": "`gradient` is of <U1",
    "complex": "`gradient` is of complex128", "object": "cannot be read", "text output": "`latent` is of <U1",
    "shape of value": r"`value` has shape \(3,\)", "no file": "no file of its arrays", "no zip": "cannot be read",
    "bomb": "7450.6 GiB", "other value": "in the file and .* in the answer", "negative": "of gradient of -1e-05 s",
    "no finite value": "in the file and none in the answer", "zero": "a sample of value of 0 s",
    "hours": "first_value of 3600 s, more than have passed", "many hours": "samples of value, all calls together",
    "few": "2 samples of gradient", "none": "no time of the first call of the gradient",
    "memory": "host_peak of -5 bytes", "work": "a count of work, parameters",
    "tolerance": "finite_differences of 0.5 with None allowed", "ok": "outcome 'ok', which is none of",
    "crashed": "outcome 'crashed'", "splendid": "outcome 'splendid'", "ready": "`ready` to `measure`",
    "sampled": "`sampled` to `measure`", "step": "step 0, which nobody", "NaN": "cannot be read",
    "deep": "cannot be read", "surrogate": "cannot be read", "long": "longer than 16777216 bytes",
    "endless": "longer than 16777216 bytes", "pipe": "its arrays is no file", "inputs": "changed the inputs",
    "no inputs": "changed the inputs", "counts": "warm_up_value of 9223372036854775808",
    "peak": "host_peak of 576460752303423488 bytes", "set-up": r"setup of 1e\+300 s, more than have passed",
    "gpu": "of a GPU, of a cell on the CPU", "events": "events of a GPU, of a cell on the CPU",
}  # fmt: skip
"""Each, and what is said of it."""


def run(folder: Path, lies: Sequence[str], seeds: int, *, resume: bool = False, limit: float = 300.0) -> list[Record]:
    """The liar's records, NumPy's being right."""
    told = folder / "lies"  # the command stays the same where the lies do not
    folder.mkdir(exist_ok=True)
    told.write_text(",".join(lies))
    settings = driver.Settings(seconds=0.0, workers={"liar": (sys.executable, LYING, str(told))}, time_limit=limit)
    running = driver.Run(folder, settings)
    running.start(resume=resume)
    records = running.run(plan.cells(request(seeds)))
    assert {record.outcome for record in records if record.backend == "numpy"} == {"ok"}
    return [record for record in records if record.backend == "liar"]


def request(seeds: int) -> plan.Request:
    return plan.Request(
        ("flow",),
        ("quadratic",),
        backends=("liar",),
        methods=("discrete",),
        seeds=tuple(range(seeds)),
        others=("liar",),
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """One run of all lies, and the truth at the end."""
    found = run(tmp_path_factory.mktemp("lies"), list(LIES), len(LIES) + 1)
    return dict(zip([*LIES, "the truth"], found, strict=True))


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_costs_its_own_cell(told: dict[str, Record], lie: str) -> None:
    record = told[lie]
    assert record.outcome in ("error", "crashed")
    assert re.search(LIES[lie], record.reason), record.reason
    assert "\x1b" not in record.reason and len(record.reason) < 5000


def test_the_truth_at_the_end_is_ok(told: dict[str, Record]) -> None:
    assert told["the truth"].outcome == "ok"


@pytest.mark.parametrize(("lie", "said"), [("chatter", "no answer within 10 s"), ("silent", "closed its output")])
def test_one_that_never_answers_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: str, said: str
) -> None:
    monkeypatch.setattr("diffprog.run.workers._PATIENCE", 1.0)
    bad, good = run(tmp_path, [lie], 2, limit=10.0)
    assert said in bad.reason
    assert (bad.outcome in ("timed_out", "crashed"), good.outcome) == (True, "ok")


def test_resuming_measures_again_what_was_a_lie_and_what_lost_its_arrays(tmp_path: Path) -> None:
    """A record is no more than what it stands for; before, resuming ended in a refusal at the reference."""
    first = run(tmp_path, ["", "no value"], 4)
    assert [record.outcome for record in first] == ["ok", "error", "ok", "ok"]
    for path in sorted((tmp_path / "arrays").glob("*/numpy-*.npz"))[:2]:
        path.write_bytes(path.read_bytes()[:100])
    (tmp_path / first[2].arrays).unlink()
    again = run(tmp_path, [""], 4, resume=True)
    assert [record.outcome for record in again] == ["ok"] * 4
    assert (again[0], again[3]) == (first[0], first[3])
    assert again[2] != first[2]
    assert all(answers.wrong_arrays(tmp_path / record.arrays, "gradient", record.value) == "" for record in again)


def test_resuming_measures_again_what_stands_for_another_answer(tmp_path: Path) -> None:
    """A gradient of another size, or none at all: as the reference it would judge the rest."""
    first = run(tmp_path, [""], 2)
    path = tmp_path / first[0].arrays
    np.savez(path, **dict(np.load(path)) | {"gradient": np.zeros(2)})
    journal = Journal(tmp_path)
    journal.append(msgspec.structs.replace(first[1], arrays=""))
    again = run(tmp_path, [""], 2, resume=True)
    assert [record.outcome for record in again] == ["ok", "ok"]
    assert all(np.load(tmp_path / record.arrays)["gradient"].shape == (4,) for record in again)


def test_an_answer_too_many_is_not_the_next_questions(tmp_path: Path) -> None:
    """The second of two results would be the next cell's, and so on to the end."""
    first, second, third = run(tmp_path, ["twice"], 3)
    assert first.outcome == "ok"
    assert second.outcome in ("crashed", "error")
    assert third.outcome == "ok"


def test_a_worker_that_cannot_be_opened_costs_its_cells(tmp_path: Path) -> None:
    assert all("seconds of -1 s" in record.reason for record in run(tmp_path, ["open"], 2))


@pytest.mark.parametrize("command", [["/nowhere/at/all"], [LYING]])
def test_a_worker_that_cannot_be_started_costs_its_cells(tmp_path: Path, command: list[str]) -> None:
    settings = driver.Settings(seconds=0.0, workers={"liar": command})
    running = driver.Run(tmp_path, settings)
    running.start(resume=False)
    records = running.run(plan.cells(request(2)))
    bad = [record for record in records if record.backend == "liar"]
    assert [record.outcome for record in bad] == ["error"] * 2
    assert all("the worker cannot be started" in record.reason for record in bad)
    assert {record.outcome for record in records if record.backend == "numpy"} == {"ok"}


def test_answers_that_are_right_are_taken(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", value=np.float64("inf"), jvp=np.float32(1), latent=np.arange(3))
    assert answers.wrong_arrays(tmp_path / "a.npz", "jvp", None) == ""
    opening = protocol.Open("x", "float64", "cpu", 1, 1)
    assert answers.wrong(opening, protocol.Ready(1.0, protocol=1), 1.0) == ""
    assert answers.wrong(opening, protocol.Failure("unavailable", "no"), 0.0) == ""


def test_a_liar_leaves_the_inputs_as_they_were(tmp_path: Path) -> None:
    """They are every backend's: what comes after would be computed from others, and blamed for it."""
    run(tmp_path, ["inputs", "no inputs", ""], 3)
    for seed in range(3):
        path = tmp_path / "arrays" / f"flow-quadratic-tiny-seed{seed}" / "inputs.npz"
        drawn, before = dict(np.load(path)), path.read_bytes()
        path.unlink()
        again = dict(np.load(files.write_inputs(tmp_path, Case("flow", "quadratic", "tiny", seed))))
        assert before and drawn.keys() == again.keys()
        assert all(np.array_equal(drawn[name], again[name]) for name in drawn)


def test_steps_that_never_end_are_not_waited_for(tmp_path: Path) -> None:
    """Each step has the time limit to itself: one that comes again and again would go on for ever."""
    loop = 'import sys; sys.stdin.readline()\nwhile True: print(\'{"type":"step","step":1,"loss":1,"seconds":0}\')'
    with (
        Worker(dict(os.environ), tmp_path / "log", 1, [sys.executable, "-c", loop]) as worker,
        pytest.raises(WorkerDied, match="step 1 after step 1"),
    ):
        worker.ask(protocol.Fit("flow", "ring", "tiny", "discrete", "x", "adam", 9, 0.1, "y"), 10.0)


def test_last_words_are_those_of_a_log_of_any_length(tmp_path: Path) -> None:
    code = "import sys; sys.stderr.write('x' * 10**7 + '\\n\\x1b[2Jthe end\\n'); sys.exit(3)"
    with (
        Worker(dict(os.environ), tmp_path / "log", 1, [sys.executable, "-c", code]) as worker,
        pytest.raises(WorkerDied, match=r"exit code 3; its last words: \ufffd\[2Jthe end$"),
    ):
        worker.ask(protocol.Open("x", "float64", "cpu", 1, 1), 10.0)


def test_set_up_was_before_this_request() -> None:
    seconds = Seconds(setup=100.0, first_value=0.1, first_gradient=0.1)
    result = protocol.Result(1.0, {}, seconds, Memory())
    assert answers.wrong(protocol.Measure(0, 0.0, "x"), result, 1.0) == ""
