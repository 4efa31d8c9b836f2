"""Peak memory sees what was held and released, and forgets it when told to."""

from __future__ import annotations

import numpy as np
import pytest

from diffprog.measure import memory


def test_the_peak_rises_and_can_be_reset() -> None:
    before = memory.reset_peak()
    block = np.ones(2**24)  # 128 MiB
    peak = memory.peak()
    assert peak is not None
    assert peak >= before + block.nbytes // 2
    del block
    memory.reset_peak()
    after = memory.peak()
    if not memory._CLEAR.exists():
        pytest.skip("this system cannot reset the peak")
    assert after is not None
    assert after < peak
