"""Where the memory shared with a worker is: in a container /dev/shm is small, and there may be no temporary folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from diffprog.interop import BridgeError, JuliaFunction, shared_memory
from diffprog.interop.shared_memory import Arena
from diffprog.interop.worker import Worker
from diffprog.run import free_memory
from tests.interop import fake_julia

MIB = 2**20


@pytest.fixture
def shm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for /dev/shm."""
    folder = tmp_path / "shm"
    folder.mkdir()
    monkeypatch.setattr(shared_memory, "_SHM", folder)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return folder


class Full:
    """Stands for a system whose /dev/shm has ``room`` bytes, for all files in it together."""

    def __init__(self, room: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room, self.folder, self.really = room, folder, os.posix_fallocate
        monkeypatch.setattr(os, "posix_fallocate", self)

    def __call__(self, file: int, offset: int, size: int) -> None:
        path = Path(f"/proc/self/fd/{file}").resolve()
        if path.parent == self.folder:
            others = sum(one.stat().st_size for one in self.folder.iterdir() if one != path)
            if others + size > self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
        self.really(file, offset, size)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    found = Worker(fake_julia.julia(tmp_path))
    yield found
    found.close()


linux = pytest.mark.skipif(sys.platform != "linux", reason="/dev/shm and memfd_create are Linux's")


@linux
@pytest.mark.parametrize("memfd", [True, False])
def test_a_small_dev_shm_is_used_to_its_end_and_then_another_place(
    worker: Worker, shm: Path, monkeypatch: pytest.MonkeyPatch, memfd: bool
) -> None:
    Full(64 * MIB, shm, monkeypatch)
    if not memfd:
        monkeypatch.delattr(os, "memfd_create")
    double = worker.load(JuliaFunction("lambda x: [2 * x]"))
    for size in (2_600_000, 3_900_000, 10, 6_000_000):  # of 8 bytes
        x = np.arange(float(size))
        np.testing.assert_array_equal(double.primal([x])[0], 2 * x)
    assert not list(shm.iterdir())
    assert not list(Path(tempfile.gettempdir()).iterdir())


@linux
def test_one_that_fits_is_not_refused_for_the_next_doubling(shm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Full(24 * MIB, shm, monkeypatch)
    arena = Arena()
    arena.grow(16 * MIB)
    path = arena.path
    arena.grow(20 * MIB)
    assert (arena.path, arena.capacity) == (path, 20 * MIB)
    arena.close()
    assert not list(shm.iterdir())


def test_where_there_is_no_room_at_all_it_is_told_and_what_there_was_stays(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = worker.load(JuliaFunction("lambda x: [2 * x, np.ones(3_000_000)]"))
    with monkeypatch.context() as full:
        full.setattr(free_memory, "available", lambda: 2 * MIB)
        full.setattr(os, "posix_fallocate", Full_everywhere)
        with pytest.raises(BridgeError, match="no shared memory is left for 24,000,0"):
            double.primal([np.ones(3_000_000)])
        with pytest.raises(BridgeError, match="for the results of the Julia function no shared memory is left"):
            double.primal([np.ones(3)])
        assert worker.held() == 0
    assert double.primal([np.ones(3)])[0].tolist() == [2.0] * 3


def Full_everywhere(file: int, offset: int, size: int) -> None:  # noqa: N802
    raise OSError(errno.ENOSPC, "No space left on device")


def test_more_than_a_control_group_leaves_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernel would end the process, not refuse."""
    monkeypatch.setattr(shared_memory, "PLACES", shared_memory.PLACES[:2])
    arena = Arena()
    monkeypatch.setattr(free_memory, "available", lambda: 50 * MIB)
    arena.grow(40 * MIB)
    with pytest.raises(BridgeError, match="Cannot allocate memory"):
        arena.grow(100 * MIB)
    assert arena.capacity == 40 * MIB
    arena.close()


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_fallocate_is_written(monkeypatch: pytest.MonkeyPatch, shm: Path, error: int) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    arena = Arena()
    arena.grow(3 * MIB + 5)
    assert os.fstat(arena.file).st_blocks * 512 >= 3 * MIB
    arena.close()


@pytest.mark.parametrize("second", [False, True])
def test_an_arena_that_cannot_be_made_leaves_nothing(
    worker: Worker, shm: Path, monkeypatch: pytest.MonkeyPatch, second: bool
) -> None:
    before = psutil.Process().num_fds()
    made = iter([Arena()] if second else [])
    path = next(shm.iterdir()) if second else None

    def make() -> Arena:
        for arena in made:
            return arena
        raise BridgeError("no shared memory is left")

    monkeypatch.setattr("diffprog.interop.session.Arena", make)
    with pytest.raises(BridgeError, match="no shared memory"):
        worker.held()
    assert psutil.Process().num_fds() == before
    assert path is None or not path.exists()
    monkeypatch.undo()
    assert worker.held() == 0


@pytest.mark.parametrize("error", [OSError(errno.EAGAIN, "no processes left"), ValueError("embedded null byte")])
def test_a_process_that_cannot_be_started_leaves_nothing(
    worker: Worker, shm: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    before = psutil.Process().num_fds()

    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", fail)
        with pytest.raises(BridgeError, match="does not start"):
            worker.held()
    assert psutil.Process().num_fds() == before
    assert not list(shm.iterdir())
    worker.julia = SimpleNamespace(executable="/bin/false", project="", environment=dict)  # type: ignore[assignment]
    with pytest.raises(BridgeError, match="ended with exit code 1"):
        worker.held()
    assert psutil.Process().num_fds() == before
    assert not list(shm.iterdir())


BARE = """
import numpy as np, tempfile, sys
from pathlib import Path
from diffprog.interop import JuliaFunction, shared_memory
from diffprog.interop.worker import Worker
from tests.interop import fake_julia
shared_memory._SHM = Path("/nowhere")
worker = Worker(fake_julia.julia(Path(sys.argv[1])))
assert worker.load(JuliaFunction("lambda x: [x + 1]")).primal([np.ones(400_000)])[0].sum() == 800_000
print("done")
"""


@linux
@pytest.mark.parametrize("folder", ["/nowhere", ""])
def test_no_home_folder_and_no_temporary_one(tmp_path: Path, folder: str) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    if folder:
        environment |= dict.fromkeys(("TMPDIR", "HOME", "XDG_CACHE_HOME"), folder)
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
