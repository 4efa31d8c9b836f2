"""``python -m peers``: the contests on `vqe`'s `heisenberg`, number of qubits by number of qubits, and their tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from diffprog.backends import find_julia, setup_julia
from diffprog.cli.console import names, progress_bars, say, stoppable, warn
from diffprog.errors import UsageError
from diffprog.run import plan
from diffprog.spec import BACKENDS
from peers import table
from peers.contest import ON_JULIA, Contender, Outcome, Problem, play
from peers.serve import MODULES

METHODS = ("reverse", "adjoint")
WRONG = 2
app = typer.Typer(add_completion=False)


def chosen(kind: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    """The names in a list with commas.

    Raises:
        UsageError: if one is not known.
    """
    found = names([text]) or ()
    plan.check_names(kind, found, known)
    return found


def numbers(text: str) -> tuple[int, ...]:
    """Numbers of qubits in a list with commas.

    Raises:
        UsageError: if one is no even number from 4 to 24.
    """
    found = []
    for name in text.split(","):
        if not name.strip().isdecimal() or int(name) % 2 or not 4 <= int(name) <= 24:
            raise UsageError(f"the ring has an even number of qubits from 4 to 24, not {name.strip()!r}")
        found.append(int(name))
    return tuple(dict.fromkeys(found))


@app.command()
def main(
    qubits: Annotated[str, typer.Option(help="Numbers of qubits, as a list.")] = "8,12,16,20",
    backend: Annotated[str, typer.Option(help="Backends of the suite besides NumPy.")] = ",".join(BACKENDS[1:]),
    method: Annotated[str, typer.Option(help="Methods of the suite.")] = ",".join(METHODS),
    peer: Annotated[str, typer.Option(help="Peers.")] = ",".join(MODULES),
    rounds: Annotated[int, typer.Option(min=1, help="Samples of each contender.")] = 11,
    out: Annotated[Path | None, typer.Option(help="Folder of the tables [default: reports/peers-TIME].")] = None,
) -> None:
    """The suite's backends and what users would pick instead, measured in turn: float64, CPU, one thread.

    NumPy's `adjoint` is the reference: who differs from it is not timed. Exit codes: 0 all that can be had agree; 1 one
    differs or failed; 2 the command was wrong; 130 stopped by Ctrl-C, with the tables of what was done.
    """
    sizes = numbers(qubits)
    backends, peers = chosen("backend", backend, BACKENDS), chosen("peer", peer, tuple(MODULES))
    methods = chosen("method", method, METHODS)
    asked = [Contender(name, how) for name in backends for how in methods]
    contenders = list(dict.fromkeys([Contender("numpy", "adjoint"), *asked, *map(Contender, peers)]))
    julia = find_julia.find() if {one.name for one in contenders} & set(ON_JULIA) else find_julia.Search()
    if julia.julia is not None and not julia.julia.precompiled:
        warn("Precompiling the suite's Julia package …")
        setup_julia.precompile(julia.julia)
    folder = out or Path("reports") / f"peers-{datetime.now():%Y-%m-%d-%H%M%S}"
    contests: list[tuple[Problem, list[Outcome]]] = []
    progress = progress_bars()
    bar = progress.add_task("starting", total=len(sizes))
    with stoppable(lambda: f"The tables of {len(contests)} of {len(sizes)} contests are in {folder}"), progress:
        for n in sizes:
            problem = Problem("vqe", "heisenberg", n, min(n, 10))
            outcomes = play(
                problem, contenders, folder / problem.name, rounds, julia,
                tell=lambda text: progress.update(bar, description=text),
            )  # fmt: skip
            contests.append((problem, outcomes))
            table.write(folder, contests)
            progress.advance(bar)
    say((folder / table.TABLES).read_text(encoding="utf-8"))
    say(f"Tables: {folder / table.TABLES}; samples: {folder / table.SAMPLES}")
    if any(one.failed for _, outcomes in contests for one in outcomes):
        raise typer.Exit(1)


if __name__ == "__main__":
    try:
        app(prog_name="python -m peers")
    except UsageError as error:
        warn(f"peers: {error}")
        sys.exit(WRONG)
