"""The GPU page, from synthetic records: what is compared, what is warned of, and what a run without a GPU says."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from rich.console import Console

from diffprog import format, tasks
from diffprog.drawing import style
from diffprog.records.cells import (
    Agreement,
    Errors,
    Floor,
    Gpu,
    GpuState,
    Journal,
    Memory,
    Provenance,
    Rates,
    Record,
    Seconds,
)
from diffprog.report import build, terminal
from diffprog.report.gpu import figure as gpu_figure
from diffprog.report.gpu import page as gpu_page
from diffprog.report.gpu import tables as gpu
from diffprog.report.run import tables

RATES = Rates(bandwidth=2.7e12, flops=5.3e13, cache=50 * 2**20)
ORIGIN = Provenance(
    suite="0.1", commit="abc", source="def", host="paper", cpu="a CPU", cores=16, threads=1, gpu="NVIDIA Paper",
    versions={"torch": "2.13", "cuda": "13.0", "driver": "580.1", "cuda_driver": "13.0", "gpu": "NVIDIA Paper"},
    switches={"tf32": "False", "svd": "cuSOLVER gesvd", "gpu_power_limit": "700 W"},
)  # fmt: skip
STATES = [
    GpuState(when="before", sm_mhz=345, celsius=33, watts=70.0, slowed=["idle"]),
    GpuState(when="after", sm_mhz=1980, celsius=48, watts=350.0, slowed=[]),
    GpuState(when="energy", sm_mhz=1755, celsius=51, watts=420.0, slowed=["power cap"]),
]


def on_gpu(size: str = "tiny", backend: str = "torch", **changes: Any) -> Record:
    named: dict[str, Any] = {
        "task": "qcbm", "variant": "gaussian", "size": size, "seed": 0, "backend": backend, "method": "reverse",
        "engine": tasks.engine(backend, "qcbm", "gradient"), "operator": "gradient", "precision": "float64",
        "device": "cuda", "outcome": "ok", "provenance": ORIGIN, "memory": Memory(device_peak=3 * 2**20),
        "seconds": Seconds(
            first_value=0.5, first_gradient=0.7, value=[1e-3] * 3, gradient=[2e-3] * 3, events_value=[0.98e-3] * 3,
            events_gradient=[1.97e-3] * 3, to_device=[4e-5, 5e-5, 6e-5], to_host=[3e-5] * 3, loops_value=2,
            loops_gradient=1, warm_up_value=100, warm_up_gradient=50, settled_value=True, settled_gradient=True,
        ),
        "agreement": Agreement(
            reference="numpy-…", value=1e-15, gradient=Errors(relative_l2=3e-14, max_rho=0.0, cosine=1.0, worst=0),
            tolerance=1e-12,
        ),
        "floor": Floor(value=2e-4, gradient=1e-3, value_bound="memory", gradient_bound="arithmetic", rates=RATES),
        "gpu": Gpu(states=STATES, joules=0.8, energy_calls=500, energy_seconds=1.0, round_trips_value=0,
                   round_trips_gradient=2),
    }  # fmt: skip
    return Record(**named | changes)


def on_cpu(size: str = "tiny", backend: str = "torch", **changes: Any) -> Record:
    changes = {"seconds": Seconds(value=[8e-3] * 3, gradient=[30e-3] * 3), "memory": Memory()} | changes
    return on_gpu(size, backend, device="cpu", gpu=None, **changes)


def cells(*records: Record) -> pd.DataFrame:
    return tables.cells(records)


def test_a_cell_on_the_gpu_is_compared_with_the_same_backend_on_the_cpu() -> None:
    graph = on_gpu(engine="cudagraph", seconds=Seconds(gradient=[1e-3], value=[1e-4]))
    rounded = on_gpu(precision="tf32")
    alone, wrong = on_gpu("small"), on_gpu("medium")
    found = gpu.compared(
        cells(
            on_cpu(), on_cpu(precision="float32", seconds=Seconds(gradient=[10e-3] * 3)), on_cpu(backend="jax"),
            on_cpu("medium", outcome="disagrees"), on_gpu(), graph, rounded, alone, wrong,
        )
    )  # fmt: skip
    assert found["gradient_speedup"].tolist()[:3] == pytest.approx([15, 30, 5])
    assert found["value_speedup"].tolist()[:2] == pytest.approx([8, 80])
    assert found["gradient_speedup"][-2:].isna().all()
    assert found["extent_name"].iloc[0] and found["extent"].is_monotonic_increasing


def test_columns_of_what_nvml_told() -> None:
    row = cells(on_gpu()).iloc[0]
    assert (row["energy_j"], row["power_w"]) == (0.8, 400.0)
    assert (row["sm_clock_min_mhz"], row["temperature_max_c"], row["slowed"]) == (1755, 51, "power cap")
    assert (row["value_round_trips"], row["gradient_round_trips"]) == (0, 2)
    assert row["to_device_s"] == pytest.approx(5e-5)
    bare = cells(on_cpu()).iloc[0]
    assert bare[["energy_j", "power_w", "to_device_s", "value_events_s", "value_settled"]].isna().all()


@pytest.mark.parametrize(
    ("clock", "events", "told"),
    [
        (1e-3, 0.98e-3, False),
        (1e-3, 0.85e-3, True),  # something of the call was not on the stream
        (1e-3, 1.05e-3, False),
        (1e-3, 1.2e-3, True),  # the clock did not wait
        (4e-5, 2e-5, False),  # as long as it takes to wait
        (4e-5, 6e-5, True),
        (1e-3, None, False),
    ],
)
def test_two_clocks_that_contradict_each_other(clock: float, events: float | None, told: bool) -> None:
    assert gpu.apart(clock, events) is told


def test_what_is_to_be_read_with_care() -> None:
    calm = msgspec.structs.replace(on_gpu(), gpu=None)
    assert gpu.warnings(cells(calm).to_dict("records")[0]) == []
    seconds = msgspec.structs.replace(calm.seconds, events_value=[2e-3] * 3, settled_gradient=False)
    (row,) = cells(on_gpu(seconds=seconds)).to_dict("records")
    assert gpu.warnings(row) == [
        "value: the device's events and the host's clock differ",
        "gradient: not steady after the warm-up",
        "clocks lowered: power cap",
    ]


def write(folder: Path, *records: Record) -> str:
    journal = Journal(folder)
    for record in records:
        journal.append(record)
    assert journal.read() == list(records)
    build.write(folder)
    return (folder / gpu_page.NAME).read_text()


def test_the_page(tmp_path: Path) -> None:
    torch = [make(size) for size in ("tiny", "small") for make in (on_cpu, on_gpu)]
    html = write(tmp_path, *torch, on_gpu(backend="jax", outcome="disagrees", reason="off"))
    assert "off</li>" in html and '<tr class="alarm"><td class="who"><i class="dot jax">' in html
    assert "2 of 3 cells on NVIDIA Paper agree with the CPU&#39;s float64 reference." in html
    for text in ("580.1", "700 W", "cuSOLVER gesvd", "15.0×", "800 mJ", "400 W", "1755 MHz", "51 °C", "3.0 MiB",
                 "2.70 TB/s", "53.0 Tflop/s", "20 %", "50 %", "50.0 µs", "power cap"):  # fmt: skip
        assert text in html, text
    assert html.count("data:image/png") == 2
    assert not re.search(r'(src|href)="(?!data:|index\.html)', html)  # self-contained
    assert 'href="gpu.html"' in (tmp_path / "index.html").read_text()
    assert (tmp_path / "figures" / "gpu_times.svg").exists()


def test_without_a_gpu_it_is_said_in_a_sentence(tmp_path: Path) -> None:
    gone: dict[str, Any] = {
        "outcome": "unavailable", "reason": "no CUDA device", "mend": "get one", "agreement": None, "gpu": None,
        "seconds": Seconds(), "memory": Memory(), "floor": None, "provenance": None,
    }  # fmt: skip
    records = [on_cpu(), on_gpu(**gone), on_gpu("small", **gone)]
    html = write(tmp_path, *records)
    told = "There is no GPU here that could be used: none of the 2 cells on cuda was run."
    console = Console(width=200, record=True, file=StringIO())
    console.print(terminal.table(records))
    assert told in html and told in console.export_text()
    assert "no CUDA device" in html and "<code>get one</code>" in html
    assert html.count("unavailable") == 1
    assert "<h2>Times</h2>" not in html and "data:image/png" not in html


def test_a_run_on_the_cpu_has_no_such_page(tmp_path: Path) -> None:
    (tmp_path / gpu_page.NAME).write_text("of an earlier run")
    Journal(tmp_path).append(on_cpu())
    build.write(tmp_path)
    assert not (tmp_path / gpu_page.NAME).exists()
    assert "gpu.html" not in (tmp_path / "index.html").read_text()


def test_the_figure_is_logarithmic_in_both_axes_and_has_the_cpu_beside_the_gpu() -> None:
    found = gpu.compared(cells(on_cpu("tiny"), on_gpu("tiny"), on_gpu("small")))
    with style.settings():
        drawn = gpu_figure.draw(found)
    times, speedups = drawn["gpu_times"].axes
    assert (times.get_xscale(), times.get_yscale()) == ("log", "log")
    dotted, value, gradient = times.lines
    assert dotted.get_linestyle() == ":" and list(dotted.get_ydata()) == pytest.approx([30e-3])  # type: ignore[arg-type]
    assert len(value.get_xdata()) == len(gradient.get_xdata()) == 2  # type: ignore[arg-type]
    assert list(speedups.lines[1].get_ydata()) == pytest.approx([15])  # type: ignore[arg-type]
    memory, energy = drawn["gpu_costs"].axes
    assert list(memory.lines[0].get_ydata()) == [3, 3]  # type: ignore[arg-type]
    assert list(energy.lines[0].get_ydata()) == [0.8, 0.8]  # type: ignore[arg-type]


def test_quantities_have_a_unit() -> None:
    assert [format.quantity(x, "J") for x in (0.8, 12.34, 4.2e-5, 3000.0, None)] == [
        "800 mJ", "12.3 J", "42.0 µJ", "3.00 kJ", format.ABSENT,
    ]  # fmt: skip
