"""PennyLane's `lightning.qubit` with adjoint differentiation: a simulator in C++ with a tape in Python.

As in PennyLane's tutorial on adjoint differentiation: a QNode with ``diff_method="adjoint"`` and ``qml.grad``.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pennylane as qml

from peers.heisenberg import Arrays, gates, terms

VERSIONS = {name: version(name) for name in ("pennylane", "pennylane-lightning")}


class Call:
    def __init__(self, config: dict[str, Any], inputs: Arrays) -> None:
        qubits = config["qubits"]
        order = list(gates(qubits, config["depth"], inputs["cnots"]))
        joined = [(J, i, j, P) for J, i, j in terms(inputs) for P in (qml.PauliX, qml.PauliY, qml.PauliZ)]
        energy = qml.Hamiltonian([J for J, *_ in joined], [P(i) @ P(j) for _, i, j, P in joined])

        @qml.qnode(qml.device("lightning.qubit", wires=qubits), diff_method="adjoint")
        def circuit(theta: Any) -> Any:
            for kind, first, second in order:
                if kind == "cnot":
                    qml.CNOT(wires=[first, second])
                elif kind == "rx":
                    qml.RX(theta[first], wires=second)
                else:
                    qml.RZ(theta[first], wires=second)
            return qml.expval(energy)

        self._circuit, self._gradient = circuit, qml.grad(circuit)
        self._theta = qml.numpy.array(inputs["params"], requires_grad=True)

    def value(self) -> Any:
        return self._circuit(self._theta)

    def gradient(self) -> tuple[Any, Any]:
        slope = self._gradient(self._theta)
        return self._gradient.forward, slope
