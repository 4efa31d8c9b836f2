"""A foreign worker that lies: ``lying_worker.py FILE`` tells the n-th of the lies there when it measures seed n."""

from __future__ import annotations

import json
import os
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

lies = Path(sys.argv[1]).read_text().split(",")
theta: Any = None
data: Any = {}
told = ""


def say(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def raw(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def answer(request: dict[str, Any]) -> None:
    """The quadratic flow, by complex steps."""
    config = data["config"]

    def value(a: Any) -> Any:
        d, x, h = 2, data["data"], -config["time"] / config["steps"]
        s = (a.reshape(d, d) + a.reshape(d, d).T) / 2
        for _ in range(config["steps"]):
            k1 = x @ s
            k2 = (x + h / 2 * k1) @ s
            k3 = (x + h / 2 * k2) @ s
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + (x + h * k3) @ s)
        return config["time"] * np.trace(s) + (x * x).sum() / (2 * len(x)) + d / 2 * np.log(2 * np.pi)

    gradient: Any = np.array([value(theta + step).imag for step in 1e-30j * np.eye(theta.size)]) / 1e-30
    arrays: dict[str, Any] = {"value": np.float64(value(theta)), "gradient": gradient}
    match told:
        case "no gradient" | "no value":
            del arrays[told.removeprefix("no ")]
        case "text":
            arrays["gradient"] = np.array(["a", "b", "c", "d"])
        case "complex":
            arrays["gradient"] = gradient.astype(complex)
        case "object":
            arrays["gradient"] = np.array([{}, 1, 2, 3], dtype=object)
        case "shape of value":
            arrays["value"] = np.zeros(3)
        case "text output":
            arrays["latent"] = np.array(["a"])
    if told != "no file":
        np.savez(request["arrays"], **arrays)
    if told == "pipe":
        Path(request["arrays"]).unlink()
        os.mkfifo(request["arrays"])
    if told == "inputs":
        np.savez(data["path"], **{name: x for name, x in data.items() if isinstance(x, np.ndarray)} | {"data": theta})
    if told == "no inputs":
        Path(data["path"]).unlink()
    if told == "no zip":
        with open(request["arrays"], "wb") as file:  # noqa: PTH123
            file.write(b"not a zip")
    if told == "bomb":
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"
        with zipfile.ZipFile(request["arrays"], "w") as archive:
            archive.writestr("gradient.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    seconds: dict[str, Any] = {"first_value": 1e-5, "first_gradient": 1e-5, "loops_value": 1, "loops_gradient": 1}
    seconds |= {"value": [1e-5] * request["samples"], "gradient": [1e-5] * request["samples"]}
    result: dict[str, Any] = {"type": "result", "value": float(value(theta)), "invariants": data["work"], "memory": {}}
    result["seconds"] = seconds
    match told:
        case "other value":
            result["value"] += 1.0
        case "no finite value":
            result["value"] = None
        case "negative":
            seconds["gradient"][3] = -1e-5
        case "zero":
            seconds["value"][0] = 0.0
        case "hours":
            seconds["first_value"] = 3600.0
        case "many hours":
            seconds["loops_value"] = 10**9
        case "few":
            seconds["gradient"] = seconds["gradient"][:2]
        case "none":
            del seconds["first_gradient"], seconds["gradient"]
        case "memory":
            result["memory"] = {"host_peak": -5}
        case "counts":
            seconds["warm_up_value"] = 2**63
        case "peak":
            result["memory"] = {"host_peak": 2**59}
        case "set-up":
            seconds["setup"] = 1e300
        case "gpu":
            result["gpu"] = {"joules": 3.0, "energy_calls": 1, "energy_seconds": 0.1}
        case "events":
            seconds["events_gradient"] = [1e-9] * 9
        case "work":
            result["invariants"] = {"parameters": 2**70}
        case "tolerance":
            result["finite_differences"] = 0.5
        case "ok" | "crashed" | "splendid":
            result = {"type": "failure", "outcome": told, "reason": "so \x1b[2J it is"}
        case "ready" | "sampled":
            result = {"type": told, "seconds": 0.0}
        case "NaN":
            raw(json.dumps(result | {"value": float("nan")}).encode() + b"\n")
            return
        case "deep":
            raw(b'{"type": "phase", "name": "x", "y": ' + b"[" * 10**5 + b"]" * 10**5 + b"}\n")
        case "surrogate":
            raw(b'{"type": "failure", "outcome": "error", "reason": "\\ud800"}\n')
            return
        case "long":
            raw(b'{"type": "phase", "name": "' + b"x" * 10**8 + b'"}\n')
        case "endless":
            while True:
                raw(b"x" * 2**20)
        case "chatter":
            while True:
                raw(b'{"type": "phase", "name": "x"}\n' * 1000)
        case "twice":
            say(**result)
        case "step":
            say(type="step", step=0, loss=0.0, seconds=0.0)
        case "silent":
            os.close(1)
            time.sleep(3600)
    say(**result)


for line in sys.stdin:
    request = json.loads(line)
    if request["type"] == "open":
        say(type="ready", seconds=-1.0 if lies == ["open"] else 0.0, protocol=1)
    elif request["type"] == "prepare":
        with np.load(request["inputs"]) as file:
            data = dict(file)
        seed = int(request["inputs"].rpartition("-seed")[2].split("/")[0])
        told = lies[seed] if seed < len(lies) else ""
        theta, data["config"], data["path"] = data["params"], request["config"], request["inputs"]
        steps = request["config"]["steps"]
        data["work"] = {"parameters": theta.size, "steps": steps, "rhs_evaluations": 4 * steps}
        say(type="ready", seconds=0.0)
    elif request["type"] == "measure":
        answer(request)
    else:
        break
