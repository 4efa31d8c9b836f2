"""The environment of a worker: built from what it needs, never inherited. docs/environment.md says what and why.

NumPy, PyTorch, XLA and Julia read their settings when they are loaded, so these must stand before the process starts.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from diffprog.backends.find_julia import EXE, PROJECT, SIGNALS, Julia
from diffprog.errors import UsageError

NEUTRAL = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "TEMP", "TMP",
    "VIRTUAL_ENV", "CONDA_PREFIX", "DIFFPROG_MNIST",
    # Windows starts hardly a process without these.
    "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "OS", "USERPROFILE", "USERNAME", "APPDATA",
    "LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES*", "COMMONPROGRAMFILES*", "NUMBER_OF_PROCESSORS", "PROCESSOR_*",
)  # fmt: skip
"""Handed to every worker as they are: who and where the user is. No framework computes otherwise for them."""
PLACES = (
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "LIBRARY_PATH",
    "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "CC", "CXX", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip
"""Handed on too, since workers may not start without them, or use what is another's; but recorded, since they decide
which library, compiler or device is taken."""
JULIA_PLACES = ("JULIA_DEPOT_PATH",)
"""The same for workers that load Julia: where its packages lie."""
FAMILIES = {
    "PyTorch": ("TORCH*", "PYTORCH*", "INDUCTOR*", "TRITON*", "AOT*", "ATEN*", "C10_*", "USE_PYTORCH*", "FUNCTORCH*"),
    "JAX": ("JAX*", "XLA*", "TF_*", "TFRT_*", "TPU_*", "PJRT_*", "LIBTPU*", "EQX_*", "OPTAX_*"),
    "OpenMP": ("OMP_*", "GOMP_*", "KMP_*", "LIBOMP*", "ACC_*"),
    "BLAS": (
        "MKL*", "OPENBLAS*", "GOTO*", "BLIS*", "BLAS*", "LAPACK*", "FLEXIBLAS*", "ARMPL*", "VECLIB*", "ATLAS*",
        "DNNL*", "ONEDNN*", "MKLDNN*", "TBB*", "USE_64BITINT",
    ),
    "NumPy": ("NUMEXPR*", "NUMBA*", "NPY_*", "NUMPY_*", "SCIPY_*", "NPROC", "SKLEARN_*"),
    "CUDA": (
        "CUDA*", "CUBLAS*", "CUDNN*", "CUSOLVER*", "CUSPARSE*", "CUFFT*", "CURAND*", "NCCL*", "NVIDIA_*", "NVTE_*",
        "NVCC*", "CUTE_*", "CUTLASS*",
    ),
    "memory": ("LD_*", "DYLD_*", "MALLOC*", "GLIBC_TUNABLES", "JEMALLOC*", "TCMALLOC*", "MIMALLOC*", "HUGETLB*"),
    "Python": ("PYTHON*", "COVERAGE_PROCESS_*"),
    "Julia": ("JULIA*", "PYTHON_JULIA*"),
}  # fmt: skip
"""Variables that change what is computed, how fast, or by whose code; those that are dropped are told."""
OF_THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "BLIS_NUM_THREADS", "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS", "NUMBA_NUM_THREADS",
    "NPROC",  # the size of XLA's thread pool on the CPU
)  # fmt: skip
CACHES = {
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "PYTORCH_KERNEL_CACHE_PATH": "torch-kernels",
    "CUDA_CACHE_PATH": "cuda",
}
"""Folders of compiled code that outlive a process; a worker has its own, new and empty, under these names."""
LASTING = {**CACHES, "JAX_COMPILATION_CACHE_DIR": "jax"}
"""The same and JAX's, which it has only where it is told to."""
WARM = (*CACHES, "JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_*CACHE*", "JAX_*CACHE*", "TRITON_*CACHE*")
"""With one of these kept, first calls may find code that was compiled before."""


SLOWING = (
    "JAX_DISABLE_JIT", "JAX_DISABLE_MOST_OPTIMIZATIONS", "JAX_DEBUG_*", "JAX_ENABLE_CHECKS", "JAX_CHECK_*",
    "TORCHDYNAMO_DISABLE", "TORCH_COMPILE_DISABLE", "TORCHDYNAMO_SUPPRESS_ERRORS", "TRITON_INTERPRET", "PYTORCH_JIT",
    "CUDA_LAUNCH_BLOCKING", "PYTHON_JULIACALL_OPTIMIZE", "PYTHON_JULIACALL_CHECK_BOUNDS",
    "PYTHON_JULIACALL_MIN_OPTLEVEL", "PYTHON_JULIACALL_COMPILE", "PYTHONDEVMODE", "PYTHONMALLOC", "PYTHONFAULTHANDLER",
    "MALLOC_PERTURB_", "MALLOC_CHECK_",
)  # fmt: skip
"""Variables that make compilers spare their work, or programs check theirs."""


def slowing(env: Mapping[str, str]) -> list[str]:
    """Those of a worker's variables under which nothing is measured that is worth it."""
    return [name for name in env if _any(name, SLOWING)]


ALWAYS = "DIFFPROG_KEEP_ENV"
"""A comma list of what else to keep: for the commands without ``--keep-env``, and for machines that always need it."""


def _any(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name is among patterns, in which only a star at the end or in the middle stands for anything."""
    return any(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) for pattern in patterns)


def family(name: str) -> str:
    """The family that a variable is of; empty where it is of none."""
    return next((found for found, patterns in FAMILIES.items() if _any(name.upper(), patterns)), "")


def kept(keep: Sequence[str], given: Mapping[str, str]) -> tuple[str, ...]:
    """The variables to hand on: those asked for, and those that `ALWAYS` names, for every command."""
    return (*keep, *(name.strip() for name in given.get(ALWAYS, "").split(",") if name.strip()))


def environment(
    precision: str,
    device: str,
    threads: int,
    julia: Julia | None,
    keep: Sequence[str] = (),
    given: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> dict[str, str]:
    """The whole environment of a worker.

    Args:
        precision: ``float64``, ``float32`` or ``tf32``.
        device: ``cpu`` or ``cuda``.
        threads: of BLAS and its like.
        julia: for workers that load it.
        keep: variables that the user wants to be handed on; see `check`.
        given: what there is, by default this process's own environment.
        folder: of a user's model, which may name Julia packages of its own.
    """
    given = os.environ if given is None else given
    keep = kept(keep, given)
    passed = (*NEUTRAL, *PLACES, *(JULIA_PLACES if julia is not None else ()))
    found = {name: value for name, value in given.items() if _any(name, passed) or name in keep}
    eigen = "true" if threads > 1 else "false"
    flags = f"--xla_cpu_multi_thread_eigen={eigen} {found.get('XLA_FLAGS', '')}".strip()
    found |= dict.fromkeys(OF_THREADS, str(threads)) | {
        "JULIA_NUM_THREADS": "1",  # the tasks' threads are those of BLAS, on every backend
        "XLA_FLAGS": flags,
        "JAX_ENABLE_X64": "1" if precision == "float64" else "0",
        "JAX_PLATFORMS": "cpu" if device == "cpu" else "cuda",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as NVML numbers devices
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",  # what a worker starts must not import from the current folder either
        "PYTHONUTF8": str(int(sys.flags.utf8_mode)),  # file names mean the same on both sides
    }
    if precision != "tf32":  # there the framework's own switches say what is rounded
        found["NVIDIA_TF32_OVERRIDE"] = "0"
    if sys.flags.no_user_site:
        found["PYTHONNOUSERSITE"] = "1"
    if julia is not None:
        found |= julia.environment(folder)
    return found


_OWN = {
    **dict.fromkeys((*OF_THREADS, "JULIA_NUM_THREADS"), "--threads"),
    **dict.fromkeys(("JAX_ENABLE_X64", "NVIDIA_TF32_OVERRIDE"), "--precision"),
    "JAX_PLATFORMS": "--device",
    EXE: "--julia-exe",
    PROJECT: "--julia-project",
    **dict.fromkeys(
        (
            SIGNALS, "JULIA_LOAD_PATH", "JULIA_CONDAPKG_BACKEND", "CUBLAS_WORKSPACE_CONFIG", "CUDA_DEVICE_ORDER",
            "PYTHONHASHSEED", "PYTHONUNBUFFERED", "PYTHONSAFEPATH", "PYTHONUTF8", "PYTHONNOUSERSITE",
        ),
        "",
    ),
}  # fmt: skip
"""What the suite itself sets, and the option that says to what; these cannot be kept."""


def check(keep: Sequence[str], given: Mapping[str, str] | None = None) -> None:
    """Refuses what cannot be handed on.

    Raises:
        UsageError: for a variable that is not there, or one that the suite sets itself.
    """
    given = os.environ if given is None else given
    for name in kept(keep, given):
        if name in _OWN:
            how = f"by {_OWN[name]}" if _OWN[name] else "itself, to the same for every run"
            raise UsageError(f"--keep-env {name}: the suite sets this variable {how}")
        if name not in given:
            raise UsageError(f"--keep-env {name}: there is no such variable in the environment")


def recorded(keep: Sequence[str], *, with_julia: bool, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """What workers are handed of the user's that another user's workers would not be: for the records."""
    given = os.environ if given is None else given
    keep = kept(keep, given)
    told = (*PLACES, *(JULIA_PLACES if with_julia else ()))
    return {name: value for name, value in sorted(given.items()) if value and (name in keep or _any(name, told))}


def dropped(keep: Sequence[str], given: Mapping[str, str] | None = None) -> list[str]:
    """The variables of the families that no worker gets to see, those aside that the suite sets itself."""
    given = os.environ if given is None else given
    handed = (*NEUTRAL, *PLACES, *JULIA_PLACES, *kept(keep, given), *_OWN)
    return sorted(name for name, value in given.items() if value and family(name) and not _any(name, handed))


def warm(kept: Sequence[str]) -> list[str]:
    """Those of the recorded variables with which a first call may not be one."""
    return [name for name in kept if _any(name, WARM)]


def lasting(folder: Path) -> dict[str, str]:
    """What makes workers keep all that they compile in ``folder``, for the next ones."""
    return {name: str(folder.resolve() / kind) for name, kind in LASTING.items()} | {
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
