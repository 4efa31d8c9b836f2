"""Yao's own ``expect'``, as its documentation writes it (yao.jl), reached through juliacall."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from juliacall import Main

from peers.heisenberg import Arrays, gates, terms

Main.include(str(Path(__file__).with_name("yao.jl")))
VERSIONS = {"julia": str(Main.VERSION), "Yao": str(Main.seval("pkgversion(Yao)"))}


class Call:
    def __init__(self, config: dict[str, Any], inputs: Arrays) -> None:
        order = list(gates(config["qubits"], config["depth"], inputs["cnots"]))
        self._problem = Main.peer_problem(config["qubits"], order, terms(inputs), np.asarray(inputs["params"]))

    def value(self) -> Any:
        return Main.peer_value(self._problem)

    def gradient(self) -> tuple[Any, Any]:
        """``expect'`` gives no value: that it is not asked for one is to its advantage."""
        return None, Main.peer_gradient(self._problem)
