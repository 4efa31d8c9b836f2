"""What must hold whatever comes: statistics of samples, the clock, verdicts."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from diffprog import tasks
from diffprog.agree import errors, timings, verdict
from diffprog.measure import clock
from diffprog.records.cells import Memory, Seconds
from diffprog.records.protocol import Result
from diffprog.report.run import tables
from diffprog.spec import Array, Arrays, Case, Cell

TIMES = st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=40)


# Statistics.


@given(TIMES, st.floats(1e-3, 1e3))
def test_spread_and_tax(samples: list[float], scale: float) -> None:
    found = tables._spread("x", samples, [sample / 2 for sample in samples])
    least, first, median, third = (found[f"x_{name}_s"] for name in ("min", "q1", "median", "q3"))
    assert min(samples) == least <= first <= median <= third <= max(samples)
    assert found["x_iqr_s"] == third - first
    assert found["x_samples"] == len(samples)
    assert found["x_noisy"] == timings.noisy(samples) == (third - first > timings.NOISE * median)
    assert found["x_harness_tax"] == 2
    assert median == pytest.approx(np.quantile(samples, 0.5))
    scaled = tables._spread("x", [scale * sample for sample in samples], samples)
    assert scaled["x_median_s"] == pytest.approx(scale * median)
    assert scaled["x_harness_tax"] == pytest.approx(scale)


@given(
    st.dictionaries(st.sampled_from("abcd"), st.floats(1e-7, 0.5), min_size=1),
    st.integers(1, 60), st.floats(0, 30), st.floats(0, 1),
)  # fmt: skip
def test_the_clock_takes_as_many_samples_as_it_says(
    durations: dict[str, float], least: int, seconds: float, idle: float
) -> None:
    """On a clock of our own: at least ``least``, and beyond that no round begins after ``seconds`` or the most."""
    now = [0.0]

    def run(name: str) -> clock.Run:
        def calls(count: int) -> float:
            now[0] += count * durations[name] + idle
            return count * durations[name]

        return calls

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "perf_counter", lambda: now[0])
        patch.setattr("gc.collect", lambda: 0)  # most of a second in all
        taken = clock.sample({name: run(name) for name in durations}, least, seconds)
    counts = {len(one.seconds) for one in taken.values()}
    assert len(counts) == 1  # every round is complete
    (count,) = counts
    assert least <= count <= max(least, clock.MOST_SAMPLES)
    for name, one in taken.items():
        assert one.loops == 1 or (one.loops - 1) * durations[name] < 1.2 * clock.SHORTEST
        assert one.loops * durations[name] >= clock.SHORTEST * (1 - 1e-9)
        assert one.seconds == pytest.approx([durations[name]] * count)
    a_round = sum((one.loops + (one.loops > 1)) * durations[name] for name, one in taken.items())
    a_round += idle * sum(1 + (one.loops > 1) for one in taken.values())
    if least < count < clock.MOST_SAMPLES:
        assert (count - 1) * a_round <= seconds * (1 + 1e-6) + 1e-6
        assert count * a_round >= seconds * (1 - 1e-6) - 1e-6


OPPOSITE = {"faster": "slower", "slower": "faster"}


@given(TIMES, TIMES, st.booleans(), st.floats(0, 0.5), st.floats(0.001, 0.2))
def test_swapping_two_runs_swaps_faster_and_slower(
    a: list[float], b: list[float], paired: bool, effect: float, alpha: float
) -> None:
    if paired:
        a, b = a[: len(b)], b[: len(a)]
    there, back = (timings.shift(*pair, paired=paired, alpha=alpha) for pair in ((a, b), (b, a)))
    assert there.p == pytest.approx(back.p, rel=1e-9)
    assert (there.ratio, there.low, there.high) == pytest.approx((1 / back.ratio, 1 / back.high, 1 / back.low))
    for p in (0.0, there.p, 1.0):
        mirrored = dataclasses.replace(there, ratio=1 / there.ratio, low=1 / there.high, high=1 / there.low)
        (verdict_there, why), (verdict_back, why_back) = (
            timings.judge(shift, p, effect, alpha) for shift in (there, mirrored)
        )
        assert verdict_back == OPPOSITE.get(verdict_there, verdict_there)
        assert why == why_back
        assert (verdict_there in OPPOSITE) <= (p < alpha and max(there.ratio, 1 / there.ratio) > 1 + 0.999 * effect)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_adjusted_p_keep_their_order_and_never_shrink(p: list[float]) -> None:
    found = timings.adjusted(p)
    assert all(own <= new <= 1 for own, new in zip(p, found, strict=True))
    assert all(new <= min(1.0, len(p) * own) * (1 + 1e-12) for own, new in zip(p, found, strict=True))
    ordered = [new for _, new in sorted(zip(p, found, strict=True))]
    assert ordered == sorted(ordered)


# Verdicts.

CASE = Case("flow", "quadratic", "tiny", 0)
TASK = tasks.get("flow")
CONFIG = TASK.configure(CASE.variant, CASE.size)
CELL = tasks.cell(CASE, "torch", "discrete", "gradient", "float64", "cpu")
P = TASK.layout(CONFIG).size
GRADIENTS = arrays_of.arrays(np.float64, P, elements=st.floats(1e-3, 1e3) | st.floats(-1e3, -1e-3))
ALIKE = arrays_of.arrays(np.float64, P, elements=st.floats(1, 1e3) | st.floats(-1e3, -1))
UNITS = arrays_of.arrays(np.float64, P, elements=st.floats(-1, 1)).filter(lambda v: np.linalg.norm(v) > 0.1)


def judged(gradient: Any, right: Array, cell: Cell = CELL, value: float = 1.0) -> str:
    yardstick = verdict.Yardstick("k", 1.0, right, float32_error=1e-7)
    found: Arrays = {"value": np.asarray(value), "gradient": gradient}
    outcome, reason, agreement = verdict.judge(
        TASK, cell, CONFIG, found, Result(1.0, TASK.work(CONFIG), Seconds(), Memory()), yardstick
    )
    assert bool(reason) == (outcome == "disagrees")
    if agreement is not None and agreement.gradient is not None and agreement.gradient.relative_l2 is not None:
        assert math.isfinite(agreement.gradient.relative_l2)
    return outcome


@given(ALIKE, UNITS, st.floats(1.01, 1e12), st.floats(0, 0.9), st.sampled_from(["float64", "float32"]))
def test_an_error_above_tolerance_disagrees_and_one_below_never(
    right: Array, direction: Array, above: float, below: float, precision: str
) -> None:
    cell = dataclasses.replace(CELL, precision=precision)
    right = right.astype(precision).astype(np.float64)
    allowed = verdict.tolerance(TASK, cell, CONFIG, verdict.Yardstick("k", 1.0, right, float32_error=1e-7))
    unit = direction / np.linalg.norm(direction) * np.linalg.norm(right) * allowed

    def off(factor: float) -> tuple[str, float]:
        moved = (right + factor * unit).astype(precision)
        error = float(np.linalg.norm(moved.astype(np.float64) - right) / np.linalg.norm(right) / allowed)
        return judged(moved, right, cell), error  # the error that rounding to the precision has left of the factor

    for factor in (above, below):
        outcome, error = off(factor)
        if not math.isclose(error, 1, rel_tol=1e-3):
            assert outcome == ("disagrees" if error > 1 else "ok")


@given(GRADIENTS, st.integers(0, P - 1), st.floats(1.01, 1e6), st.booleans())
def test_a_small_component_cannot_hide_behind_the_norm(right: Array, index: int, above: float, up: bool) -> None:
    floor = errors.SMALL * float(np.linalg.norm(right))
    wrong = right.copy()
    wrong[index] += (1 if up else -1) * above * verdict.COMPONENT * max(abs(right[index]), floor)
    assert judged(wrong, right) == "disagrees"


@given(GRADIENTS, UNITS, st.floats(-14, -6), st.integers(-30, 30))
def test_the_verdict_knows_no_unit(right: Array, direction: Array, log_error: float, power: int) -> None:
    """By a power of two and by sign, so that nothing is rounded."""
    wrong = right + 10**log_error * np.linalg.norm(right) * direction
    for factor in (2.0**power, -1.0):
        assert judged(factor * wrong, factor * right) == judged(wrong, right)


DAMAGES: dict[str, Any] = {
    "NaN": lambda g, i: np.where(np.arange(P) == i, np.nan, g),
    "Inf": lambda g, i: np.where(np.arange(P) == i, np.inf, g),
    "-Inf": lambda g, i: np.where(np.arange(P) == i, -np.inf, g),
    "one missing": lambda g, i: np.delete(g, i),
    "one too many": lambda g, i: np.insert(g, i, g[i]),
    "a column": lambda g, i: g[:, None],
    "a scalar": lambda g, i: g[i],
    "float32": lambda g, i: g.astype(np.float32),
    "complex": lambda g, i: g.astype(np.complex128),
    "integer": lambda g, i: g.astype(np.int64),
    "dropped": lambda g, i: np.where(np.arange(P) == i, 0.0, g),
    "sign": lambda g, i: np.where(np.arange(P) == i, -g, g),
}


@given(GRADIENTS, st.sampled_from(sorted(DAMAGES)), st.integers(0, P - 1))
@settings(max_examples=120)
def test_damage_is_always_caught(right: Array, name: str, index: int) -> None:
    assert judged(right.copy(), right) == "ok"
    assert judged(np.asarray(DAMAGES[name](right, index)), right) == "disagrees"


@given(GRADIENTS, st.sampled_from([np.nan, np.inf, -np.inf, 1.0 + 1e-9, -1.0]))
def test_a_wrong_value_is_always_caught(right: Array, value: float) -> None:
    assert judged(right.copy(), right, value=value) == "disagrees"
