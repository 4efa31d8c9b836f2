"""Functions of Julia, given from Python as source or as a file: one process for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffprog import check_gradients
from diffprog.backends.find_julia import Search
from tests.gradients.conftest import by_hand, loss

pytestmark = pytest.mark.julia

FILE = """
function loss(params, data)
    H = tanh.(data.X * params.W .+ params.b')
    chosen = [H[i, data.kinds[i] + 1] for i in axes(H, 1)]
    return sum(data.kept .* chosen .^ 2 .* abs2.(data.z)) + params.c^2
end
"""


@pytest.fixture(autouse=True)
def _julia(julia: Search) -> None:
    """Skips where there is none."""


def test_a_file_agrees_by_every_operator(given: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "model.jl").write_text(FILE)
    result = check_gradients(
        numpy=loss(np),
        numpy_gradient=by_hand,
        julia=tmp_path / "model.jl",
        operators=("gradient", "jvp", "hvp"),
        **given,
    )
    found = {row.operator: row for row in result.rows if row.backend == "julia"}
    assert {operator: row.outcome for operator, row in found.items()} == dict.fromkeys(("gradient", "jvp", "hvp"), "ok")
    assert found["gradient"].value == pytest.approx(loss(np)(given["params"], given["data"]), rel=1e-14)


def test_source_is_told_what_is_wrong_with_it(tmp_path: Path) -> None:
    params, data = {"x": np.array([1.0, 2.0]), "µ": 3.0}, {"y": np.ones(2)}

    def told(source: Any) -> tuple[str, str]:
        (row,) = check_gradients(julia=source, params=params, data=data).rows
        return row.outcome, row.reason

    assert told("(params, data) -> sum(abs2, params.x .- data.y) * params.µ") == ("ok", "")
    outcome, reason = told("(params, data) -> sum(abs2, params.x")
    assert outcome == "error" and "syntax error" in reason
    outcome, reason = told("(params, data) -> params.x")
    assert outcome == "error" and "an array of shape (2,)" in reason
    outcome, reason = told("(params, data) -> (data.y[1] = 7; sum(params.x))")
    assert outcome == "error" and "loss changes its input 'y' in place" in reason
    outcome, reason = told(tmp_path / "none.jl")
    assert outcome == "error" and reason == f"{tmp_path / 'none.jl'}: there is no such file"
