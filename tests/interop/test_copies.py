"""Operations that are copied, pickled, or come to another process by a fork. By a stand-in for Julia."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from diffprog.interop import JuliaFunction
from diffprog.interop.worker import Worker
from tests.interop import fake_julia

ROOT = Path(__file__).parents[2]
DOUBLE = JuliaFunction("lambda x: [data['k'] * x]", {"k": 2.0})


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    found = Worker(fake_julia.julia(tmp_path))
    yield found
    found.close()


def test_copies_share_the_worker_and_what_is_loaded(worker: Worker) -> None:
    loaded = worker.load(DOUBLE)
    assert copy.copy(loaded) is copy.deepcopy(loaded) is loaded
    assert copy.copy(worker) is copy.deepcopy(worker) is worker
    assert copy.deepcopy(DOUBLE) is DOUBLE
    _, pullback = loaded.forward([np.ones(2)])
    with pytest.raises(TypeError, match="run the forward pass again"):
        copy.deepcopy(pullback)


def test_pickled_in_this_process_it_is_the_same_worker(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = pickle.loads(pickle.dumps(worker.load(DOUBLE)))
    assert loaded.route is worker
    assert loaded.primal([np.ones(2)])[0].tolist() == [2.0, 2.0]
    monkeypatch.setattr("diffprog.interop.worker._shared", worker)
    assert pickle.loads(pickle.dumps(worker)) is worker


UNPICKLE = """
import pickle, sys
import numpy as np
loaded = pickle.load(sys.stdin.buffer)
assert loaded.primal([np.ones(2)])[0].tolist() == [2.0, 2.0]
print(loaded.route.threads)
"""


def test_pickled_in_another_process_it_starts_its_own(worker: Worker) -> None:
    threaded = Worker(worker.julia, threads=3)
    sent = pickle.dumps(threaded.load(DOUBLE))
    threaded.close()
    environment = os.environ | {"PYTHONPATH": str(ROOT / "suite")}
    done = subprocess.run(
        [sys.executable, "-c", UNPICKLE], input=sent, env=environment, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, b"3\n"), done.stderr


FORK = """
import multiprocessing, os, sys, threading, time
from pathlib import Path
import numpy as np
from diffprog.interop import BridgeError, JuliaFunction
from diffprog.interop.worker import Worker
from tests.interop import fake_julia

worker = Worker(fake_julia.julia(Path(sys.argv[1])))
add = worker.load(JuliaFunction("lambda x: [np.array([float(os.getpid())]), x + 1][(1 if x[0] < 9 else 0):][:1]"))
slow = worker.load(JuliaFunction("lambda x: [time.sleep(1), x][1:]"))
_, pullback = add.forward([np.ones(1)])

def pid():
    return int(add.primal([np.array([9.0])])[0][0])

def work(k):
    assert add.primal([np.full(2, k)])[0].tolist() == [k + 1, k + 1]
    return pid()

# While another thread is within a call, and so holds the lock.
thread = threading.Thread(target=slow.primal, args=([np.ones(1)],))
thread.start()
time.sleep(0.3)
child = os.fork()
if child == 0:
    try:
        pullback([np.ones(1)])
    except BridgeError as error:
        assert "run the forward pass again" in str(error)
        assert work(3.0) != os.getpid()
        sys.exit(7)  # with Python's own end
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
thread.join()
mine = pid()
with multiprocessing.get_context("fork").Pool(2) as pool:
    theirs = set(pool.map(work, [1.0, 2.0, 3.0, 4.0]))
assert mine not in theirs and work(5.0) == mine
assert np.all(pullback([np.ones(1)])[0] == 2.0)  # the parent's own is as it was
def running(one):
    try:
        return Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

deadline = time.monotonic() + 60
while any(map(running, theirs)) and time.monotonic() < deadline:
    time.sleep(0.05)
assert not any(map(running, theirs))  # and theirs have ended with them
print("done")
"""
"""In a process of its own: JAX, where it is loaded, warns of any fork."""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux lists them")
def test_a_fork_starts_a_worker_of_its_own(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "suite")}
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=200
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_many_threads_at_once(worker: Worker) -> None:
    double = worker.load(DOUBLE)
    found: dict[int, bool] = {}

    def run(number: int) -> None:
        found[number] = all(
            double.primal([np.full(3, float(k))])[0].tolist() == [2.0 * k] * 3 for k in range(number, number + 100)
        )

    threads = [threading.Thread(target=run, args=(100 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(found.values())
