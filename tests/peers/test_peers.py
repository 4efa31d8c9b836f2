"""The contest with peers: who is timed, who is refused, and that every peer computes the suite's own problem."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffprog.backends import find_julia
from diffprog.tasks.vqe.problem import VqeConfig, draw
from peers import heisenberg, table
from peers.contest import ROOT, Contender, Outcome, Problem, difference, play

TINY = Problem("vqe", "heisenberg", 4, 2)
REFERENCE = Contender("numpy", "adjoint")


def peer(factor: float) -> Contender:
    command = (sys.executable, str(Path(__file__).with_name("peer_of_numpy.py")), "own", str(factor))
    return Contender("own", command=command)


def test_a_peer_that_agrees_is_timed_in_turn(tmp_path: Path) -> None:
    outcomes = play(TINY, [REFERENCE, peer(1.0)], tmp_path, 3, find_julia.Search())
    ours, theirs = outcomes
    assert [one.refused for one in outcomes] == ["", ""]
    assert (ours.error, theirs.error) == (0.0, 0.0)
    for one in outcomes:
        assert all(len(one.seconds[phase]) == 3 and one.first[phase] > 0 for phase in ("value", "gradient"))
    assert theirs.versions == {"own": "1"}
    assert table.best(outcomes) is ours  # a peer is no yardstick, however fast
    table.write_csv(tmp_path / "samples.csv", [(TINY, outcomes)])
    with (tmp_path / "samples.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["contender"] == "own" and row["round"]]
    assert [float(row["seconds"]) for row in rows if row["phase"] == "gradient"] == theirs.seconds["gradient"]


def test_a_peer_that_differs_is_not_timed(tmp_path: Path) -> None:
    _, theirs = outcomes = play(TINY, [REFERENCE, peer(1 + 1e-9)], tmp_path, 1, find_julia.Search())
    assert theirs.failed
    assert theirs.refused == "it differs from numpy adjoint by 1.0e-09"
    assert not theirs.seconds["gradient"]
    assert "- own: it differs" in "\n".join(table.lines(TINY, outcomes))


def test_a_peer_that_is_not_installed_is_told(tmp_path: Path) -> None:
    program = "import sys; from peers import serve; serve.MODULES['own'] = 'peers.nowhere'; serve.main()"
    missing = Contender("own", command=(sys.executable, "-c", program, "own"))
    _, theirs = play(TINY, [REFERENCE, missing], tmp_path, 1, find_julia.Search())
    assert theirs.refused == "own cannot be imported (No module named 'peers.nowhere')"
    assert not theirs.failed


def test_without_the_reference_nobody_is_compared(tmp_path: Path) -> None:
    reference, theirs = play(TINY, [peer(float("nan")), peer(1.0)], tmp_path, 1, find_julia.Search())
    assert reference.failed
    assert theirs.refused == "there is no reference to compare it with"


def test_ratios_are_of_one_round() -> None:
    ours, theirs = Outcome(REFERENCE), Outcome(Contender("own"))
    ours.seconds["gradient"], theirs.seconds["gradient"] = [1.0, 2.0, 4.0], [3.0, 4.0, 4.0]
    assert table.quartiles(theirs, ours) == (2.0, 1.5, 2.5)


def test_the_list_of_gates_is_the_suites_circuit() -> None:
    """A simulator of a few lines, gate by gate, against the reference's distribution."""
    config = VqeConfig("heisenberg", "tiny", 4, 2, "ring")
    inputs = draw(config, 1)
    state = np.zeros([2] * 4, complex)
    state[0, 0, 0, 0] = 1
    for kind, first, second in heisenberg.gates(4, 2, inputs["cnots"]):
        if kind == "cnot":
            state = np.moveaxis(state, (3 - first, 3 - second), (0, 1)).copy()
            state[1] = state[1, ::-1].copy()
            state = np.moveaxis(state, (0, 1), (3 - first, 3 - second))
            continue
        half = inputs["params"][first] / 2
        turn = np.diag([np.exp(-1j * half), np.exp(1j * half)])
        if kind == "rx":
            turn = np.array([[np.cos(half), -1j * np.sin(half)], [-1j * np.sin(half), np.cos(half)]])
        state = np.moveaxis(np.tensordot(turn, state, (1, 3 - second)), 0, 3 - second)
    from diffprog import tasks

    data = {name: array for name, array in inputs.items() if name != "params"}
    expected = tasks.functions("vqe", "numpy", config, "adjoint").outputs(inputs["params"], data)["distribution"]
    np.testing.assert_allclose(np.abs(state.ravel()) ** 2, expected, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "package"), [("lightning", "pennylane_lightning"), ("tensorcircuit", "tensorcircuit")]
)
def test_a_peer_computes_the_same(name: str, package: str, tmp_path: Path) -> None:
    pytest.importorskip(package, reason="nox -s peers has it", exc_type=ImportError)
    _, theirs = play(TINY, [REFERENCE, Contender(name)], tmp_path, 1, find_julia.Search())
    assert not theirs.refused
    assert theirs.error <= 1e-14


@pytest.mark.julia
@pytest.mark.thorough
def test_yao_as_documented_computes_the_same(julia: find_julia.Search, tmp_path: Path) -> None:
    _, theirs = play(TINY, [REFERENCE, Contender("yao")], tmp_path, 1, julia)
    assert not theirs.refused
    assert theirs.error <= 1e-14


def test_a_wrong_value_counts_as_much_as_a_wrong_gradient() -> None:
    slope = np.ones(3)
    assert difference((2.0, slope), (2.0, slope)) == 0.0
    assert difference((2.0 + 2e-6, slope), (2.0, slope)) == pytest.approx(1e-6)
    assert difference((2.0, 1.5 * slope), (2.0, slope)) == pytest.approx(0.5)
    assert difference((2.0, np.ones(2)), (2.0, slope)) == float("inf")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--qubits", "7"), "the ring has an even number of qubits from 4 to 24, not '7'"),
        (("--peer", "qulax"), "there is no peer 'qulax'; there are: lightning, tensorcircuit, yao"),
        (("--out", __file__), f"cannot write {__file__}"),
    ],
)
def test_bad_input_is_one_sentence(arguments: tuple[str, ...], told: str) -> None:
    command = [sys.executable, "-m", "peers", "--qubits", "4", "--backend", "numpy", "--peer", "", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert told in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("peers: ")] == done.stderr.splitlines()[-1:]
    assert "Traceback" not in done.stderr
