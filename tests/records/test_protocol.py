"""The wire format is a promise to workers that others wrote: it changes on purpose or not at all.

`conversation.jsonl` is one whole conversation with the NumPy worker, `protocol.schema.json` the shapes of all messages.
Where a change is meant: raise `protocol.VERSION` if it breaks old workers, run

    DIFFPROG_UPDATE=1 python -m pytest tests/records/test_protocol.py

and look at the diff; the example in docs/protocol.md is written anew with them.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from diffprog import tasks
from diffprog.errors import UsageError
from diffprog.records import protocol
from diffprog.run import driver, files, fits, plan
from diffprog.run.workers import COMMAND, Worker
from diffprog.spec import Case
from tests.conftest import Runner

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "protocol.md"
FOREIGN = str(ROOT / "tests" / "run" / "foreign_worker.py")
CASE = Case("flow", "quadratic", "tiny", 0)
UPDATE = bool(os.environ.get("DIFFPROG_UPDATE"))


def unchanged(path: Path, text: str) -> None:
    """Fails with a diff where the committed file says something else; on demand writes it instead."""
    if UPDATE:
        path.write_text(text)
    before = path.read_text() if path.exists() else ""
    diff = "\n".join(difflib.unified_diff(before.splitlines(), text.splitlines(), path.name, "now", lineterm="", n=1))
    if diff:
        pytest.fail(f"the wire format changed; if it is meant, see the top of {__file__}\n{diff}", pytrace=False)


KEPT = ("value", "loss", "rate", "time", "rtol", "temperature")


def masked(message: Any, name: str = "") -> Any:
    """What differs from run to run, replaced by its kind in angle brackets; answers to nine decimals."""
    if isinstance(message, dict):
        if name in ("versions", "switches"):
            return {"<name>": "<text>"} if message else {}
        return {key: masked(value, key) for key, value in message.items()}
    if isinstance(message, list):
        return ["<seconds>" for _ in message]
    if name.startswith("settled_"):
        return "<yes or no>"
    if name.startswith(("host_", "loops_", "warm_up_")):
        return "<bytes>" if name.startswith("host_") else "<calls>"
    if isinstance(message, float):
        return round(message, 9) if name in KEPT else "<error>" if "differences" in name else "<seconds>"
    return message


def holds(path: Path) -> dict[str, Any]:
    """What an .npz file holds."""
    with np.load(path) as file:
        return {path.name: {name: f"{file[name].dtype}{list(file[name].shape)}" for name in file.files}}


def conversation(folder: Path) -> list[dict[str, Any]]:
    """One entry a line, under ``parent`` or ``worker``, and one a file, under its name."""
    task = tasks.get(CASE.task)
    config = task.configure(CASE.variant, CASE.size)
    files.write_inputs(folder, CASE).rename(folder / "inputs.npz")
    fits.write_inputs(folder, task, CASE).rename(folder / "fit-inputs.npz")
    scalars = msgspec.to_builtins(config)
    named = (CASE.task, CASE.variant, CASE.size)
    requests: list[protocol.Request] = [
        protocol.Open("numpy", "float64", "cpu", 1, protocol.VERSION),
        protocol.Prepare(*named, "library", "inputs.npz", "jvp", "hand", config=scalars),
        protocol.Prepare(*named, "discrete", "inputs.npz", "gradient", "hand", config=scalars),
        protocol.Measure(2, 0.0, "result.npz", 1),
        protocol.Sample("gradient", 5),
        protocol.Fit(*named, "discrete", "fit-inputs.npz", "adam", 2, 0.1, "fitted.npz", scalars),
        protocol.Quit(),
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    lines = [holds(folder / "inputs.npz")]
    with subprocess.Popen(COMMAND, cwd=folder, env=env, **pipes) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        for request in requests:
            worker.stdin.write(protocol.encode(request) + b"\n")
            worker.stdin.flush()
            lines.append({"parent": msgspec.to_builtins(request)})
            while line := worker.stdout.readline():
                reply = protocol.decode_reply(line)
                lines.append({"worker": masked(json.loads(line))})
                if not isinstance(reply, protocol.Phase | protocol.Step):
                    break
            if isinstance(request, protocol.Measure | protocol.Fit):
                lines.append(holds(folder / request.arrays))
        assert worker.wait(timeout=10) == 0
        assert worker.stdout.read() == b""
    return lines


def test_a_whole_conversation_is_as_it_was_and_as_the_page_shows_it(tmp_path: Path) -> None:
    lines = conversation(tmp_path)
    unchanged(HERE / "conversation.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines))
    arrows = {"parent": "→", "worker": "←"}
    shown = [f"{arrows.get(who, who)} {json.dumps(what)}\n" for line in lines for who, what in line.items()]
    page = PAGE.read_text()
    block = re.compile(r"(<!-- conversation -->\n+```text\n).*?(```)", re.DOTALL)
    assert len(block.findall(page)) == 1
    unchanged(PAGE, block.sub(lambda found: found[1] + "".join(shown) + found[2], page))


def plain(schema: Any) -> Any:
    """Without what is for people: a docstring is not on the wire. Null comes last, as newer msgspecs have it."""
    if isinstance(schema, dict):
        found = {key: plain(value) for key, value in sorted(schema.items()) if key not in ("description", "title")}
        alternatives = sorted(found.pop("anyOf", []), key=lambda one: bool(one.get("type") == "null"))
        return found | ({"anyOf": alternatives} if alternatives else {})
    return [plain(value) for value in schema] if isinstance(schema, list) else schema


def test_the_shapes_of_the_messages_are_as_they_were() -> None:
    kinds = (*protocol.Request.__args__, *protocol.Reply.__args__)
    _, components = msgspec.json.schema_components(kinds)
    found = {"version": protocol.VERSION, "messages": plain(components)}
    unchanged(HERE / "protocol.schema.json", json.dumps(found, indent=1, sort_keys=True) + "\n")


def test_the_page_names_every_message_and_field() -> None:
    page = PAGE.read_text()
    for kind in (*protocol.Request.__args__, *protocol.Reply.__args__):
        (section,) = re.findall(rf"^#+ `{kind.__struct_config__.tag}`.*?(?=^#)", page + "\n#", re.DOTALL | re.MULTILINE)
        for name in kind.__struct_encode_fields__:
            assert f"| `{name}` |" in section, (kind, name)
    assert f"version **{protocol.VERSION}**" in page


@pytest.mark.parametrize(("ours", "told"), [(protocol.VERSION + 1, "this worker version 1"), (0, "speaks version 0")])
def test_a_worker_refuses_another_version(tmp_path: Path, ours: int, told: str) -> None:
    with Worker(dict(os.environ) | {"PYTHONPATH": str(ROOT)}, tmp_path / "log", 1) as worker:
        reply = worker.ask(protocol.Open("numpy", "float64", "cpu", 1, ours), 60)
        assert isinstance(reply, protocol.Failure)
        assert (reply.outcome, told in reply.reason) == ("error", True)


@pytest.mark.parametrize(("said", "told"), [("", "no version"), (', "protocol": 99', "version 99")])
def test_the_parent_refuses_another_version(run: Runner, said: str, told: str) -> None:
    code = f"""print('{{"type": "ready", "seconds": 0.1{said}}}', flush=True); input(); input()"""
    request = plan.Request(tasks=("flow",), variants=("quadratic",), backends=("numpy",), methods=("discrete",))
    (record,) = run(request, command=(sys.executable, "-c", code))
    assert record.outcome == "error"
    assert record.reason == (
        f"the suite speaks version 1 of the worker protocol and this worker {told}: "
        "bring both to the same (docs/protocol.md)"
    )


def test_a_worker_by_others_is_measured_and_judged(tmp_path: Path) -> None:
    """One that has nothing of the suite, by complex steps: ok where it can, unsupported where it says so."""
    request = plan.Request(
        tasks=("flow",), variants=("quadratic",), backends=("squire",), methods=("discrete", "checkpointed"),
        others=("squire",),
    )  # fmt: skip
    settings = driver.Settings(seconds=0.0, workers={"squire": (sys.executable, FOREIGN)})
    running = driver.Run(tmp_path, settings)
    running.start(resume=False)
    reference, ours, other = running.run(plan.cells(request))
    assert [record.outcome for record in (reference, ours, other)] == ["ok", "ok", "unsupported"]
    assert (ours.backend, ours.engine, ours.made_with) == ("squire", "own", "complex steps")
    assert ours.agreement is not None and ours.agreement.reference == reference.cell.key
    assert len(ours.seconds.gradient) == 9
    assert other.reason == "the quadratic flow by its discrete gradient only"


def test_an_unknown_backend_needs_a_worker() -> None:
    with pytest.raises(UsageError, match="there is no backend 'squire'"):
        plan.cells(plan.Request(backends=("squire",)))
