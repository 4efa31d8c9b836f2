"""A worker written from docs/protocol.md, with nothing of the suite in it: the quadratic flow, by complex steps.

Source: Squire, Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Rev. 40, 110 (1998).
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np


def say(**message: Any) -> None:
    print(json.dumps(message), flush=True)


def failure(outcome: str, reason: str) -> None:
    say(type="failure", outcome=outcome, reason=reason)


class Quadratic:
    """NLL = T tr S + ½ mean |x(T)|² + (d/2) ln 2π, where x follows −∇u = −Sx by N steps of RK4."""

    def __init__(self, config: dict[str, Any], inputs: dict[str, Any]) -> None:
        self.steps, self.time = config["steps"], config["time"]
        self.theta, self.x, self.evaluations = inputs["params"], inputs["data"], 0

    def value(self, theta: Any) -> Any:
        d = self.x.shape[1]
        a, x, h = theta.reshape(d, d), self.x, -self.time / self.steps
        s = (a + a.T) / 2
        for _ in range(self.steps):
            k1 = x @ s
            k2 = (x + h / 2 * k1) @ s
            k3 = (x + h / 2 * k2) @ s
            k4 = (x + h * k3) @ s
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            self.evaluations += 4
        return self.time * np.trace(s) + (x * x).sum() / (2 * len(x)) + d / 2 * np.log(2 * np.pi)

    def gradient(self) -> Any:
        steps = 1e-30j * np.eye(self.theta.size)
        return np.array([self.value(self.theta + step).imag for step in steps]) / 1e-30

    def call(self, what: str) -> Any:
        return self.value(self.theta) if what == "value" else self.gradient()


def timed(cell: Quadratic, what: str, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        cell.call(what)
    return (time.perf_counter() - start) / calls


def measure(cell: Quadratic, request: dict[str, Any]) -> None:
    say(type="phase", name="first call")
    first = {what: timed(cell, what, 1) for what in ("value", "gradient")}
    loops = {what: max(1, int(2e-3 / timed(cell, what, 20)) + 1) for what in first}
    say(type="phase", name="sampling")
    samples: dict[str, list[float]] = {"value": [], "gradient": []}
    for _ in range(request["samples"]):
        for what in samples:
            samples[what].append(timed(cell, what, loops[what]))
    cell.evaluations = 0
    value, gradient = cell.value(cell.theta), cell.gradient()
    work = {
        "parameters": gradient.size,
        "steps": cell.steps,
        "rhs_evaluations": cell.evaluations // (1 + gradient.size),
    }
    np.savez(request["arrays"], value=np.float64(value), gradient=gradient)
    seconds: dict[str, Any] = {f"first_{what}": first[what] for what in first} | samples
    seconds |= {f"loops_{what}": loops[what] for what in loops}
    say(type="result", value=float(value), invariants=work, seconds=seconds, memory={})


def main() -> None:
    cell: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        kind = request["type"]
        if kind == "open":
            if request["protocol"] != 1:
                failure("error", "this worker speaks version 1 of the protocol")
            elif (request["device"], request["precision"]) != ("cpu", "float64"):
                failure("unsupported", "float64 on the CPU only")
            else:
                say(type="ready", seconds=time.process_time(), protocol=1, versions={"numpy": np.__version__})
        elif kind == "prepare":
            if (request["task"], request["variant"], request["method"]) != ("flow", "quadratic", "discrete"):
                failure("unsupported", "the quadratic flow by its discrete gradient only")
            elif request["operator"] != "gradient":
                failure("unsupported", "gradients only")
            else:
                start = time.perf_counter()
                with np.load(request["inputs"]) as file:
                    cell = Quadratic(request["config"], dict(file))
                say(type="ready", seconds=time.perf_counter() - start, made_with="complex steps")
        elif kind == "measure":
            measure(cell, request)
        elif kind == "sample":
            say(type="sampled", seconds=timed(cell, request["phase"], request["calls"]))
        elif kind == "quit":
            break
        else:
            failure("unsupported", f"no {kind} here")


main()
