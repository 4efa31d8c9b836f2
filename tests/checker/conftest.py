"""The two figures of the checker, printed at the end of a session that ran its tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

FIGURES = "checker"


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Iterator[dict[str, int]]:
    """Counts that a test makes; they are added up over the session, over several processes too."""
    counts: dict[str, int] = {}
    yield counts
    record_property(FIGURES, counts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    total: dict[str, int] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, counts in getattr(report, "user_properties", ()):
                if name == FIGURES and report.when == "teardown":
                    for key, number in counts.items():
                        total[key] = total.get(key, 0) + number
    if "planted" in total:
        terminalreporter.write_line(f"planted errors caught: {total['caught']} of {total['planted']}")
    if "true" in total:
        terminalreporter.write_line(f"true gradients refused: {total['refused']} of {total['true']}")
