"""What a worker's environment is made of: nothing of the user's that changes what is measured, but on demand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from diffprog.errors import UsageError
from diffprog.records import protocol
from diffprog.records.cells import Journal, Record
from diffprog.run import caches, installation, variables, workers
from diffprog.run.workers import Worker, environment

ROOT = Path(__file__).parents[2]
HOSTILE = (
    "JAX_DISABLE_JIT", "JAX_DISABLE_MOST_OPTIMIZATIONS", "JAX_COMPILATION_CACHE_DIR", "JAX_DEBUG_NANS",
    "JAX_ENABLE_CHECKS", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_TRACEBACK_FILTERING", "XLA_PYTHON_CLIENT_MEM_FRACTION",
    "TF_XLA_FLAGS", "TF_CPP_MIN_LOG_LEVEL", "TORCHDYNAMO_DISABLE", "TORCH_COMPILE_DISABLE", "TORCHINDUCTOR_FREEZING",
    "TORCHINDUCTOR_CACHE_DIR", "TORCH_LOGS", "PYTORCH_JIT", "PYTORCH_CUDA_ALLOC_CONF", "TRITON_INTERPRET",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "OMP_DYNAMIC", "OMP_PROC_BIND", "OMP_PLACES", "OMP_WAIT_POLICY",
    "OMP_THREAD_LIMIT", "GOMP_CPU_AFFINITY", "GOMP_SPINCOUNT", "KMP_AFFINITY", "KMP_BLOCKTIME", "KMP_HW_SUBSET",
    "MKL_DYNAMIC", "MKL_CBWR", "MKL_DEBUG_CPU_TYPE", "MKL_ENABLE_INSTRUCTIONS", "OPENBLAS_CORETYPE",
    "OPENBLAS_MAIN_FREE", "OPENBLAS_VERBOSE", "OPENBLAS_DEFAULT_NUM_THREADS", "BLIS_JC_NT", "BLIS_ARCH_TYPE",
    "NPY_DISABLE_CPU_FEATURES", "NPY_PROMOTION_STATE", "NUMEXPR_THREADS", "ONEDNN_MAX_CPU_ISA",
    "DNNL_DEFAULT_FPMATH_MODE",
    "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING", "CUBLASLT_WORKSPACE_SIZE", "CUDNN_LOGLEVEL_DBG", "NCCL_DEBUG",
    "LD_PRELOAD", "LD_BIND_NOW", "LD_AUDIT", "MALLOC_ARENA_MAX", "MALLOC_CONF", "MALLOC_PERTURB_", "GLIBC_TUNABLES",
    "PYTHONPATH", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "PYTHONDEVMODE", "PYTHONMALLOC", "PYTHONWARNINGS",
    "PYTHONPROFILEIMPORTTIME", "PYTHONFAULTHANDLER", "PYTHON_GIL", "PYTHON_JULIACALL_OPTIMIZE",
    "PYTHON_JULIACALL_THREADS", "PYTHON_JULIACALL_CHECK_BOUNDS", "PYTHON_JULIACALL_SYSIMAGE", "JULIA_PROJECT",
    "JULIA_CPU_TARGET", "JULIA_EXCLUSIVE", "JULIA_NUM_GC_THREADS", "JULIA_DEBUG", "JULIA_DEPOT_PATH",
)  # fmt: skip
"""A few of each family. The last is where Julia's packages lie: for workers that load Julia alone."""


@pytest.mark.parametrize("name", HOSTILE)
def test_what_changes_a_measurement_is_dropped_and_told(name: str) -> None:
    user = {"PATH": "/bin", "HOME": "/home/me", "SECRET": "x", name: "1"}
    found = environment("float64", "cpu", 1, None, given=user)
    assert name not in found and "SECRET" not in found
    assert (found["PATH"], found["HOME"]) == ("/bin", "/home/me")
    assert variables.dropped((), user) == ([] if name == "JULIA_DEPOT_PATH" else [name])
    kept = environment("float64", "cpu", 1, None, (name,), given=user)
    assert kept[name] == "1"
    assert variables.recorded((name,), with_julia=False, given=user) == {name: "1"}
    assert variables.dropped((name,), user) == []


def test_a_variable_of_the_suites_keeps_for_every_command() -> None:
    user = {
        "PYTHONPATH": "/apps",
        "MKL_CBWR": "x",
        "OMP_NUM_THREADS": "7",
        variables.ALWAYS: "PYTHONPATH, OMP_NUM_THREADS",
    }
    found = environment("float64", "cpu", 1, None, given=user)
    assert (found["PYTHONPATH"], found["OMP_NUM_THREADS"], "MKL_CBWR" in found) == ("/apps", "1", False)
    assert "PYTHONPATH" in variables.recorded((), with_julia=False, given=user)
    assert variables.dropped((), user) == ["MKL_CBWR"]
    with pytest.raises(UsageError, match="sets this variable by --threads"):
        variables.check((), user)


def test_what_the_suite_sets_is_the_same_for_all() -> None:
    user = dict.fromkeys((*variables.OF_THREADS, "JULIA_NUM_THREADS", "JAX_ENABLE_X64", "JAX_PLATFORMS"), "7")
    user |= {"XLA_FLAGS": "--xla_dump_to=/x", "PYTHONHASHSEED": "7", "NVIDIA_TF32_OVERRIDE": "7"}
    assert environment("float32", "cpu", 2, None, given=user) == environment("float32", "cpu", 2, None, given={})
    assert environment("float32", "cpu", 2, None, given={})["OMP_NUM_THREADS"] == "2"
    kept = environment("float64", "cpu", 1, None, ("XLA_FLAGS",), given=user)
    assert kept["XLA_FLAGS"] == "--xla_cpu_multi_thread_eigen=false --xla_dump_to=/x"


def test_where_things_are_is_handed_on_and_recorded() -> None:
    user = {
        "LD_LIBRARY_PATH": "/apps/lib",
        "CUDA_VISIBLE_DEVICES": "3",
        "CXX": "clang++",
        "LANG": "C",
        "OMP_PLACES": "x",
    }
    assert user.items() - environment("float64", "cpu", 1, None, given=user).items() == {("OMP_PLACES", "x")}
    told = {"LD_LIBRARY_PATH": "/apps/lib", "CUDA_VISIBLE_DEVICES": "3", "CXX": "clang++"}
    assert variables.recorded((), with_julia=False, given=user) == told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("NOT_THERE", "there is no such variable"), ("OMP_NUM_THREADS", "sets this variable by --threads"),
        ("JAX_ENABLE_X64", "by --precision"), ("PYTHONHASHSEED", "sets this variable itself"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(name: str, told: str) -> None:
    with pytest.raises(UsageError, match=f"--keep-env {name}: .*{told}"):
        variables.check([name], {"OMP_NUM_THREADS": "1", "JAX_ENABLE_X64": "1", "PYTHONHASHSEED": "1"})


def run(folder: Path, *options: str, **env: str) -> tuple[subprocess.CompletedProcess[str], list[Record]]:
    """One little case on NumPy and JAX, by the command, called where there are modules that shadow Python's."""
    here = folder / "here"
    here.mkdir(exist_ok=True)
    for name in ("random", "json", "numpy", "diffprog", "jax"):
        (here / f"{name}.py").write_text("raise SystemExit('imported from the current folder')\n")
    command = [sys.executable, "-P", "-m", "diffprog", "run", "--task", "flow", "--variant", "quadratic"]
    command += ["--method", "discrete", "--seconds", "0", "--no-report", "--out", str(folder / "run"), *options]
    clean = {name: value for name, value in os.environ.items() if not variables.family(name)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=here, env=clean | env, check=False)
    return done, Journal(folder / "run").read() if done.returncode == 0 else []


def test_a_hostile_environment_measures_as_a_clean_one_does(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "scipy.py").write_text("raise SystemExit('imported from PYTHONPATH')\n")
    hostile = {
        "JAX_DISABLE_JIT": "1",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "c"),
    }
    hostile |= {"OMP_NUM_THREADS": "7", "OPENBLAS_NUM_THREADS": "7", "GOMP_CPU_AFFINITY": "0", "PYTHONOPTIMIZE": "2"}
    done, records = run(tmp_path, "--backend", "numpy,jax", **hostile)
    assert [record.outcome for record in records] == ["ok", "ok"], done.stderr
    for name in ("JAX_DISABLE_JIT", "JAX_COMPILATION_CACHE_DIR", "GOMP_CPU_AFFINITY", "PYTHONOPTIMIZE"):
        assert name in done.stderr
    assert not (tmp_path / "c").exists()
    for record in records:
        origin = record.provenance
        assert origin is not None and origin.environment == {}
        assert not {"jit", "optimisations", "compilation_cache"} & origin.switches.keys()
        assert record.seconds.import_ is not None and 0 < record.seconds.import_ < 120
        if hasattr(os, "sched_getaffinity"):
            assert len(origin.processors.split("(")[0].split(",")) == 1


def test_what_is_kept_is_in_the_record(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    env = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_DISABLE_JIT": "0"}
    done, records = run(tmp_path, "--backend", "jax", "--keep-env", ",".join(env), **env)
    assert [record.outcome for record in records] == ["ok", "ok"], done.stderr
    for record in records:
        assert record.provenance is not None and record.provenance.environment == env
    assert records[1].provenance is not None
    assert records[1].provenance.switches["optimisations"] == "most are off"


def told(worker: Worker) -> dict[str, Any]:
    """What a worker that is a Python program of these tests says of itself."""
    assert worker.process.stdout is not None
    return dict(json.loads(worker._lines.get(timeout=60)))


SAYS = """
import json, os, sys
print(json.dumps({"env": dict(os.environ), "path": sys.path, "may": sorted(os.sched_getaffinity(0))}), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processors are bound on Linux alone")
def test_a_worker_has_caches_of_its_own_and_is_bound_from_the_start(tmp_path: Path) -> None:
    env = environment("float64", "cpu", 1, None)
    with Worker(env, tmp_path / "log", 1, (sys.executable, "-P", "-c", SAYS)) as worker:
        found = told(worker)
        caches = [Path(found["env"][name]) for name in variables.CACHES]
        assert not any(path.exists() for path in caches)  # they are new
        assert {path.parent for path in caches} == {Path(found["env"][workers.CACHES])}
        assert found["may"] == list(worker.claim.processors)
        assert len(found["may"]) == 1
        caches[0].mkdir()
    assert not caches[0].parent.exists()
    mine = env | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    with Worker(mine, tmp_path / "log", 1, (sys.executable, "-P", "-c", SAYS)) as worker:
        assert told(worker)["env"]["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path)  # one that the user kept


STRAYS = """
import os
from diffprog.worker import serve as worker
class Straying(worker.Worker):
    def open(self, request):
        os.sched_setaffinity(0, range(os.cpu_count()))
        return super().open(request)
worker.main(Straying)
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two processors"
)
def test_a_worker_that_leaves_its_processors_is_no_measurement(tmp_path: Path) -> None:
    from diffprog.run import driver, plan

    settings = driver.Settings(seconds=0.0, command=(sys.executable, "-P", "-c", STRAYS))
    running = driver.Run(tmp_path, settings)
    running.start(resume=False)
    request = plan.Request(("flow",), ("quadratic",), backends=("numpy",), methods=("discrete",))
    (record,) = running.run(plan.cells(request))
    assert record.outcome == "error"
    assert "has rebound itself" in record.reason


def test_a_backend_with_more_threads_than_asked_for_is_refused(tmp_path: Path) -> None:
    env = environment("float64", "cpu", 1, None) | {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))  # a test process may be bound to one
        if len(os.sched_getaffinity(0)) < 2:
            pytest.skip("there is one processor: no library starts a second thread")
        with Worker(env, tmp_path / "log", 2) as worker:
            reply = worker.ask(protocol.Open("numpy", "float64", "cpu", 1, protocol.VERSION), 120)
    finally:
        os.sched_setaffinity(0, allowed)
    assert isinstance(reply, protocol.Failure)
    assert "more threads than the 1 of --threads" in reply.reason


def test_the_code_measured_is_that_of_the_installation(tmp_path: Path) -> None:
    """Another suite, on the path or in the current folder, is not it."""
    other = tmp_path / "diffprog"
    other.mkdir()
    (other / "__init__.py").write_text("raise SystemExit('another suite')\n")
    code = (*installation.this().runs("diffprog.run.environment"),)
    env = environment("float64", "cpu", 1, None) | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(code, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no such locks")
def test_caches_of_a_run_that_was_killed_are_swept_and_those_in_use_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    used, left, young = caches.Caches(), caches.Caches(), caches.Caches()
    assert left._descriptor is not None and young._descriptor is not None
    for one in (left, young):  # as the system does when their owner is killed
        os.close(one._descriptor)  # type: ignore[arg-type]
        one._descriptor = None
    for old in (used, left):
        os.utime(old.path, (0, 0))
    caches._sweep.cache_clear()
    caches.Caches().remove()
    assert set(tmp_path.iterdir()) == {used.path, young.path}
    for one in (used, used, young):
        one.remove()
    assert not list(tmp_path.iterdir())
