"""Starting Julia in this process by juliacall, with the package DiffProgTasks."""

from __future__ import annotations

import os
import warnings

from diffprog.backends import find_julia
from diffprog.backends.find_julia import SIGNALS, Julia
from diffprog.interop.errors import BridgeError


def load(julia: Julia | None) -> int:
    """Starts Julia by juliacall unless it runs already; returns the address of the bridge's entry."""
    before = dict(os.environ)
    if julia is not None:
        os.environ.update(julia.environment())
        if before.get(SIGNALS) == "yes":
            os.environ[SIGNALS] = "yes"
        else:
            os.environ["PYTHON_JULIACALL_THREADS"] = "1"
    try:
        with warnings.catch_warnings():
            # juliacall warns of torch's being imported first; docs/interop.md says what was found of that.
            warnings.filterwarnings("ignore", message="torch was imported before juliacall")
            from juliacall import CONFIG, Main
    except ImportError as error:
        raise BridgeError(f"juliacall cannot be imported ({error}): python -m pip install juliacall") from error
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
    threads = int(Main.seval("Threads.nthreads(:default) + Threads.nthreads(:interactive)"))
    if threads > 1 and CONFIG["opt_handle_signals"] != "yes":
        # So the process collects none before it ends, and leaves out Julia's own end, which would. juliacall looks that
        # function up when Python ends, and calls it.
        Main.seval("GC.enable(false)")
        CONFIG["lib"].jl_atexit_hook = _no_hook
        raise BridgeError(
            f"Julia was started with {threads} threads and without its signal handlers: at the next collection of "
            f"garbage the process would end by a segmentation fault. Before juliacall is imported, set {SIGNALS}=yes "
            "or one thread, or use route='worker'"
        )
    folder = str(find_julia.package_folder())
    Main.seval(f'raw"{folder}" in LOAD_PATH || insert!(LOAD_PATH, min(2, length(LOAD_PATH) + 1), raw"{folder}")')
    own = "" if julia is not None else find_julia.depots(find_julia.package_folder()).get(find_julia.DEPOTS, "")
    depot = own.split(os.pathsep)[0]  # of the package's own, to compile it into: juliacall knows of none
    if depot:
        Main.seval(f'pushfirst!(DEPOT_PATH, raw"{depot}")')
    Main.seval("import DiffProgTasks")
    if depot:
        Main.seval("popfirst!(DEPOT_PATH)")
    return int(Main.DiffProgTasks.Bridge.entry_address())


def _no_hook(code: int) -> None:
    """In place of Julia's own end, in a process whose Julia cannot live through it."""
