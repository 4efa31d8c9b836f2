"""Rates of the device, and floors made of them and of a task's demand."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffprog import tasks
from diffprog.errors import UsageError
from diffprog.measure import rates
from diffprog.records.cells import FILE, Journal, Rates
from diffprog.run import driver, plan, roofline
from diffprog.spec import Case

CASE = Case("flow", "density", "large", 0)
CONFIG = tasks.get("flow").configure("density", "large")


class Device:
    """A device whose time passes as it copies 8 GB/s and multiplies at 20 Gflop/s; the first of its calls are slow."""

    def __init__(self) -> None:
        self.now = 0.0
        self.copied: list[int] = []

    def copy(self, count: int) -> rates.Call:
        self.copied.append(count)
        return self.taking(2 * count * 8 / 8e9)

    def product(self, order: int) -> rates.Call:
        return self.taking(2 * order**3 / 2e10 + (1e-3 if order < 512 else 0))

    def taking(self, seconds: float) -> rates.Call:
        slower = iter([3.0, 1.5, 1.0])

        def call() -> None:
            self.now += seconds * next(slower, 1.2)

        return call


def test_compilation_takes_nothing_from_the_time_there_is() -> None:
    device = Device()

    def compiled(order: int) -> rates.Call:
        call, first = device.product(order), iter([5.0])

        def run() -> None:
            device.now += next(first, 0.0)
            call()

        return run

    found = rates.measure(rates.Probes(device.copy, compiled, 2**20), 8, 2.0, lambda: device.now)
    assert found.flops == pytest.approx(2e10)


@pytest.mark.parametrize("cache", [None, 32 * 2**20])
def test_rates_are_the_best_of_what_was_timed(cache: int | None) -> None:
    device = Device()
    found = rates.measure(rates.Probes(device.copy, device.product, cache), 8, 2.0, lambda: device.now)
    assert found.bandwidth == pytest.approx(8e9)
    assert found.flops == pytest.approx(2e10)
    assert found.cache == cache
    assert device.copied == [(512 if cache is None else 128) * 2**20 // 8]
    assert device.now < 2.6  # the first calls come on top of what there is


def test_the_cache_is_the_largest_that_the_system_names(tmp_path: Path) -> None:
    for index, text in enumerate(["32K", "1024K", "32M", "odd"]):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(text + "\n")
    assert rates.host_cache(tmp_path) == 32 * 2**20
    assert rates.host_cache(tmp_path / "none") is None


def test_a_floor_is_the_longer_of_moving_and_computing() -> None:
    cell = tasks.cell(CASE, "torch", "discrete", "gradient", "float32", "cpu")
    demand = tasks.get("flow").demand(CONFIG, "discrete", "gradient", 4)
    assert demand is not None
    slow, fast = (Rates(bandwidth=1e9, flops=flops, cache=2**20) for flops in (1e9, 1e15))
    computing, moving = (roofline.floor(cell, CONFIG, known) for known in (slow, fast))
    assert computing is not None and moving is not None
    assert (computing.gradient, computing.gradient_bound) == (demand.flops / 1e9, "arithmetic")
    assert (moving.gradient, moving.gradient_bound) == (demand.moved(2**20) / 1e9, "memory")
    unknown = roofline.floor(cell, CONFIG, Rates(bandwidth=1e9, flops=1e15))
    assert unknown is not None and unknown.gradient == demand.bytes / 1e9
    assert roofline.floor(cell, CONFIG, None) is None
    assert roofline.floor(tasks.cell(CASE, "torch", "library", "gradient", "float32", "cpu"), CONFIG, slow) is None


def test_a_book_is_read_again_and_a_damaged_one_refused(tmp_path: Path) -> None:
    key = roofline.Key("torch", "cpu", "float64", 2)
    roofline.Book(tmp_path).note(key, Rates(bandwidth=2.0, flops=3.0))
    again = roofline.Book(tmp_path)
    assert again.get(key) == Rates(bandwidth=2.0, flops=3.0)
    assert again.get(key._replace(threads=1)) is None
    again.path.write_text("{")
    with pytest.raises(UsageError, match="cannot read the device's rates"):
        roofline.Book(tmp_path)


def test_a_run_measures_rates_once_and_records_floors_unless_nothing_is_sampled(tmp_path: Path) -> None:
    request = plan.Request(tasks=("flow",), variants=("quadratic",), backends=("numpy",), methods=("discrete",))
    for seconds, known in ((0.0, False), (0.05, True)):
        running = driver.Run(tmp_path / str(seconds), driver.Settings(seconds=seconds))
        running.start(resume=False)
        running.run(plan.cells(request))
        (record,) = Journal(tmp_path / str(seconds)).read()
        assert (record.floor is not None) == (tmp_path / str(seconds) / roofline.FILE).exists() == known
    assert record.floor is not None and record.floor.value is not None and record.floor.gradient is not None
    assert record.floor.value < record.floor.gradient < min(record.seconds.gradient)
    assert b'"floor"' in (tmp_path / "0.05" / FILE).read_bytes()
