"""The memory that a control group leaves: psutil tells of the machine alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from diffprog.errors import UsageError
from diffprog.run import free_memory, plan
from diffprog.run.plan import Request

MIB = 2**20


class Groups:
    """A made-up /proc/self and cgroup mount; ``kind`` is that of its file system."""

    def __init__(self, folder: Path, kind: str, path: str, root: str = "/") -> None:
        self.proc, self.top = folder / "proc", folder / "cgroup dir"
        self.proc.mkdir()
        self.top.mkdir()
        number, controllers, options = ("0", "", "rw") if kind == "cgroup2" else ("5", "memory", "rw,memory")
        (self.proc / "cgroup").write_text(f"7:cpu:{path}\n{number}:{controllers}:{path}\n")
        where = str(self.top).replace(" ", "\\040")
        (self.proc / "mountinfo").write_text(
            f"20 1 0:1 / / rw - ext4 /dev/sda rw\n30 20 0:26 {root} {where} rw shared:9 - {kind} none {options}\n"
        )

    def write(self, group: str, **files: object) -> None:
        folder = self.top / group.strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            (folder / name.replace("__", ".")).write_text(f"{value}\n")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """17 GiB are free on the machine itself."""
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=17 * 2**30))


def test_the_tightest_group_up_to_the_root_counts(tmp_path: Path) -> None:
    groups = Groups(tmp_path, "cgroup2", "/user/session")
    groups.write("/user/session", memory__max="max", memory__current=50 * MIB)
    groups.write("/user", memory__max=700 * MIB, memory__current=300 * MIB, memory__stat=f"file 5\ninactive_file {MIB}")
    assert free_memory.available(groups.proc) == 401 * MIB
    groups.write("/user/session", memory__max=200 * MIB)
    assert free_memory.available(groups.proc) == 150 * MIB
    groups.write("/user/session", memory__max=40 * MIB)
    assert free_memory.available(groups.proc) == 0


def test_version_1_with_the_path_of_the_host_in_a_container(tmp_path: Path) -> None:
    groups = Groups(tmp_path, "cgroup", "/docker/abc", root="/docker/abc")
    groups.write("/", memory__limit_in_bytes=700 * MIB, memory__usage_in_bytes=100 * MIB, memory__stat="rss 3")
    assert free_memory.available(groups.proc) == 600 * MIB
    groups.write("/", memory__limit_in_bytes=2**63 - 4096)
    assert free_memory.available(groups.proc) == 17 * 2**30


@pytest.mark.parametrize("files", [{}, {"memory__max": "nonsense", "memory__current": 1}, {"memory__max": 5}])
def test_what_cannot_be_read_limits_nothing(tmp_path: Path, files: dict[str, object]) -> None:
    groups = Groups(tmp_path, "cgroup2", "/elsewhere")
    groups.write("/", **files)
    assert free_memory.available(groups.proc) == 17 * 2**30
    assert free_memory.available(tmp_path / "no proc") == 17 * 2**30


def test_cells_that_do_not_fit_the_group_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = plan.cells(Request(tasks=("qcbm",)))
    plan.check_memory(cells)
    monkeypatch.setattr(free_memory, "available", lambda: 500 * MIB)
    with pytest.raises(UsageError, match=r"0\.5 GiB are there"):
        plan.check_memory(cells)
