"""What ``diffprog doctor`` opens, and what it leaves alone."""

from __future__ import annotations

import pytest

from diffprog.backends.find_julia import Julia, Search
from diffprog.run import doctor


def test_a_julia_that_would_compile_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "BACKENDS", ("julia",))
    julia = Julia("/nowhere/julia", "/nowhere", "1.12.5", "on the PATH", precompiled=False)
    on_cpu, _ = doctor.examine(Search(julia), threads=1)
    assert (on_cpu.device, on_cpu.state, on_cpu.mend) == ("cpu", "not compiled", "diffprog setup-julia")
