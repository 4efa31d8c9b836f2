"""tensorcircuit-ng on JAX: circuits are tensor networks that are contracted under `jit`.

A scan goes over the layers, as in its example of fast compilation (``hea_scan_jit_acc.py``): written out gate by gate,
XLA takes minutes to compile the gradient of 8 qubits already. The energy is ``Circuit.expectation_ps`` of each string.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import tensorcircuit as tc

from diffprog.circuits import tables
from peers.heisenberg import Arrays, terms

VERSIONS = {name: version(name) for name in ("tensorcircuit-ng", "jax")}
tc.set_dtype("complex128")
K = tc.set_backend("jax")


class Call:
    def __init__(self, config: dict[str, Any], inputs: Arrays) -> None:
        qubits, depth = config["qubits"], config["depth"]
        places, cnots, bonds = jnp.array(tables.angle_slots(qubits, depth)), inputs["cnots"].tolist(), terms(inputs)

        def turned(state: Any, angles: Any) -> Any:
            circuit = tc.Circuit(qubits, inputs=state)
            for qubit in range(qubits):
                circuit.rz(qubit, theta=angles[qubit, 0])
                circuit.rx(qubit, theta=angles[qubit, 1])
                circuit.rz(qubit, theta=angles[qubit, 2])
            return circuit

        def layer(state: Any, angles: Any) -> tuple[Any, None]:
            circuit = turned(state, angles)
            for control, target in cnots:
                circuit.cnot(control, target)
            return circuit.state(), None

        def energy(theta: Any) -> Any:
            table = jnp.zeros((depth + 1) * qubits * 3).at[places].set(theta).reshape(depth + 1, qubits, 3)
            state, _ = jax.lax.scan(layer, jnp.zeros(2**qubits, complex).at[0].set(1), table[:-1])
            final = tc.Circuit(qubits, inputs=turned(state, table[-1]).state())
            return sum(J * K.real(final.expectation_ps(**{P: [i, j]})) for J, i, j in bonds for P in ("x", "y", "z"))

        self._value, self._gradient = K.jit(energy), K.jit(K.value_and_grad(energy))
        self._theta = jnp.asarray(inputs["params"])

    def value(self) -> Any:
        return jax.block_until_ready(self._value(self._theta))

    def gradient(self) -> tuple[Any, Any]:
        value, slope = jax.block_until_ready(self._gradient(self._theta))
        return value, slope
