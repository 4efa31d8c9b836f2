"""Two runs at once are not bound to one processor while another is free; where they are, it is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from diffprog.run import plan, processors
from tests.conftest import Runner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processors are bound on Linux alone")
OTHER = """
import os, sys
from diffprog.run import processors
allowed = sorted(os.sched_getaffinity(0))
print(processors.claim(int(sys.argv[1])).processors, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Two processors that nobody has claimed, as far as this process is concerned: their numbers are made up."""
    numbers = [10_001, 10_002]
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(numbers))
    yield numbers
    assert not processors._held  # all was given back


def other(numbers: list[int], threads: int) -> subprocess.Popen[str]:
    """Another process that has claimed as many of the processors, and says so."""
    code = OTHER.replace("allowed =", f"os.sched_getaffinity = lambda pid: {set(numbers)}\nallowed =")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    started = subprocess.Popen([sys.executable, "-c", code, str(threads)], text=True, **pipes)  # type: ignore[call-overload]
    assert started.stdout is not None
    assert started.stdout.readline().startswith("(")
    return started  # type: ignore[no-any-return]


def test_the_last_free_processor_is_taken_and_given_back(free: list[int]) -> None:
    first = processors.claim(1)
    assert (first.processors, first.shared, str(first)) == ((10_002,), (), "10002")
    second = processors.claim(1)  # of the same run, which takes turns with the first
    assert second == first
    both = processors.claim(2)
    assert (both.processors, both.shared) == ((10_001, 10_002), ())
    for claim in (first, second, both):
        claim.release()


def test_another_run_has_another_processor_until_it_ends(free: list[int]) -> None:
    with other(free, 1) as running:
        mine = processors.claim(1)
        assert (mine.processors, mine.shared) == ((10_001,), ())
        both = processors.claim(2)
        assert (both.processors, both.shared) == ((10_001, 10_002), (10_002,))
        assert str(both) == "10001, 10002 (claimed by another run too: 10002)"
        running.kill()  # however it ends
        running.wait()
    again = processors.claim(2)
    assert again.shared == ()
    for claim in (mine, both, again):
        claim.release()


def test_where_all_are_taken_it_is_told(free: list[int]) -> None:
    with other(free, 2) as running:
        mine = processors.claim(1)
        assert (mine.processors, mine.shared) == ((10_002,), (10_002,))
        mine.release()
        running.kill()


def test_a_contended_record_says_so(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    held = processors.claim
    monkeypatch.setattr(processors, "claim", lambda threads: processors.Claim(held(threads).processors, (0,)))
    (record,) = run(plan.Request(("flow",), ("quadratic",), backends=("numpy",), methods=("discrete",)), samples=9)
    assert record.provenance is not None
    assert record.provenance.contended
    assert "claimed by another run too" in record.provenance.processors
    processors._held.clear()
