"""pytest-benchmark over the cells, on the workers' own clock: no pipe, no Python start-up, no harness in the figures.

Compare runs with ``pytest-benchmark compare``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diffprog.spec import BACKENDS, Case
from tests.benchmarks.conftest import CLOCK, Workers, cells, prepare

ROUNDS = 9


@pytest.mark.parametrize("phase", ["value", "gradient"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("case", "method"), [pytest.param(c, m, id=f"{c.key}-{m}") for c, m in cells("tiny")])
@pytest.mark.benchmark(timer=CLOCK, min_rounds=ROUNDS)
def test_cell(
    benchmark: Any,
    workers: Workers,
    tmp_path: Path,
    case: Case,
    method: str,
    backend: str,
    phase: str,
) -> None:
    bench = prepare(workers, tmp_path, case, backend, method)
    benchmark.group = f"{case.key} {phase}"
    benchmark.extra_info.update(backend=backend, method=method, engine=bench.engine, unit="s", device="cpu")
    benchmark.extra_info.update(switches=bench.switches)
    benchmark.pedantic(bench.call, args=(phase,), rounds=ROUNDS, warmup_rounds=2, iterations=1)
    assert benchmark.stats.stats.rounds == ROUNDS
