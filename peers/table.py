"""What came of a contest, as Markdown and CSV: each contender's time over that of the suite's best, round by round."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffprog.format import seconds
from peers.contest import Outcome, Problem

Contests = Sequence[tuple[Problem, Sequence[Outcome]]]
TABLES, SAMPLES = "peers.md", "samples.csv"
HEADER = ("contender", "off by", "first gradient", "value", "gradient", "÷ value", "÷ the suite's best")


def median(outcome: Outcome) -> float:
    """Of the gradient's samples, s."""
    return float(np.median(outcome.seconds["gradient"]))


def best(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The suite's contender with the smallest median time of a gradient; None where none has times."""
    timed = [one for one in outcomes if not one.refused and not one.contender.peer]
    return min(timed, key=median, default=None)


def quartiles(outcome: Outcome, against: Outcome) -> tuple[float, float, float]:
    """Median and quartiles of the ratios of the gradients' samples of the same round."""
    theirs, ours = (np.array(one.seconds["gradient"]) for one in (outcome, against))
    low, middle, high = np.percentile(theirs / ours, (25, 50, 75))
    return float(middle), float(low), float(high)


def lines(problem: Problem, outcomes: Sequence[Outcome]) -> list[str]:
    """A Markdown table, the fastest first, and below it who has no times, and why."""
    yardstick = best(outcomes)
    found = [f"### {problem.task} {problem.variant}: {problem.qubits} qubits, depth {problem.depth}", ""]
    timed = [one for one in outcomes if not one.refused] if yardstick else []
    if timed:
        found += ["| " + " | ".join(HEADER) + " |", "| --- " * len(HEADER) + "|"]
    for one in sorted(timed, key=median):
        assert yardstick is not None
        value, gradient = (float(np.median(one.seconds[phase])) for phase in ("value", "gradient"))
        middle, low, high = quartiles(one, yardstick)
        name = str(one.contender) if one.contender.peer else f"**{one.contender}**"
        columns = (
            name, f"{one.error:.0e}", seconds(one.first["gradient"]), seconds(value), seconds(gradient),
            f"{gradient / value:.1f}", f"{middle:.2f} ({low:.2f}–{high:.2f})",
        )  # fmt: skip
        found.append("| " + " | ".join(columns) + " |")
    found += [""] + [f"- {one.contender}: {one.refused}" for one in outcomes if one.refused]
    return found


def write(folder: Path, contests: Contests) -> None:
    """The tables, and the samples behind them."""
    told = "\n".join(line for problem, outcomes in contests for line in [*lines(problem, outcomes), ""])
    (folder / TABLES).write_text(told, encoding="utf-8")
    write_csv(folder / SAMPLES, contests)


def write_csv(path: Path, contests: Contests) -> None:
    """Every sample, one a row; of who has none, the reason."""
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("problem", "contender", "versions", "off_by", "phase", "round", "seconds", "refused"))
        for problem, outcomes in contests:
            for one in outcomes:
                versions = " ".join(f"{name}={number}" for name, number in sorted(one.versions.items()))
                common = (problem.name, str(one.contender), versions, f"{one.error:.3e}")
                if one.refused:
                    out.writerow((*common, "", "", "", one.refused))
                    continue
                for phase, taken in one.seconds.items():
                    out.writerow((*common, f"first_{phase}", "", repr(one.first[phase]), ""))
                    out.writerows((*common, phase, k, repr(seconds), "") for k, seconds in enumerate(taken))
