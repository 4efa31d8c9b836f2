"""The Born machine in JAX: a scan over layers, for ``adjoint`` a second one backwards; the backend compiles.

Shapes as in ``reference``: states are (..., 2ⁿ), complex, leading axes a batch.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffprog.spec import Functions
from diffprog.tasks.qcbm import circuit
from diffprog.tasks.qcbm.problem import QcbmConfig

Matrices = list[Array]
"""One unitary (..., 2ᵏ, 2ᵏ) for each group of k qubits, the least significant group first."""
Data = dict[str, Array]
Rotate = Callable[[Matrices, Array], Array]
Entangle = Callable[[Array, Array], Array]


def unitaries(table: Array) -> Array:
    """Rz(c) Rx(b) Rz(a) of angles (..., 3) = (a, b, c): shape (..., 2, 2)."""
    a, b, c = jnp.moveaxis(table, -1, 0)
    stay, hop = jnp.cos(b / 2), -1j * jnp.sin(b / 2)
    plus, minus = jnp.exp(0.5j * (a + c)), jnp.exp(0.5j * (a - c))
    rows = [stay * plus.conj(), hop * minus, hop * minus.conj(), stay * plus]
    return jnp.stack(rows, axis=-1).reshape(*b.shape, 2, 2)


def axes(table: Array) -> Array:
    """Unit vectors m with (dU/dθ) U† = −(i/2) m·σ, for angles (..., 3): shape (..., 3, 3). See ``simulation.axes``."""
    _, b, c = jnp.moveaxis(table, -1, 0)
    zero, one = jnp.zeros_like(b), jnp.ones_like(b)
    first = [jnp.sin(b) * jnp.sin(c), -jnp.sin(b) * jnp.cos(c), jnp.cos(b)]
    return jnp.stack([*first, jnp.cos(c), jnp.sin(c), zero, zero, zero, one], axis=-1).reshape(*b.shape, 3, 3)


def merge(unitary: Array, group: range) -> Array:
    """The Kronecker product of 2x2 matrices (..., n, 2, 2) over a group of k qubits: shape (..., 2ᵏ, 2ᵏ)."""
    product = unitary[..., group[0], :, :]
    for qubit in group[1:]:
        size = 2 * product.shape[-1]
        blocks = unitary[..., qubit, :, None, :, None] * product[..., None, :, None, :]
        product = blocks.reshape(*product.shape[:-2], size, size)
    return product


def rotate(matrices: Matrices, state: Array) -> Array:
    """Applies one matrix to each group of qubits."""
    shape = state.shape
    right = 1
    for matrix in matrices:
        size = matrix.shape[-1]
        if right == 1:
            state = state.reshape(*shape[:-1], -1, size) @ matrix.mT
        elif right * size == shape[-1]:  # the most significant group: with two groups, A_hi S A_loᵀ
            state = matrix @ state.reshape(*shape[:-1], size, right)
        else:
            state = matrix[..., None, :, :] @ state.reshape(*shape[:-1], -1, size, right)
        right *= size
    return state.reshape(shape)


def entangle(state: Array, gather: Array) -> Array:
    """All CNOTs of a layer."""
    # A permutation: said so, the gather needs no clamping and its transpose no atomic addition.
    return state.at[..., gather].get(mode="promise_in_bounds", unique_indices=True)


def evolve(layers: Matrices, gather: Array, rotate: Rotate = rotate, entangle: Entangle = entangle) -> Array:
    """|0…0> through all layers; ``layers`` holds (d+1, 2ᵏ, 2ᵏ) for each group. The last layer has no CNOTs."""

    def step(state: Array, matrices: Matrices) -> tuple[Array, None]:
        return entangle(rotate(matrices, state), gather), None

    start = jnp.zeros(len(gather), layers[0].dtype).at[0].set(1)
    state, _ = jax.lax.scan(step, start, [matrix[:-1] for matrix in layers])
    return rotate([matrix[-1] for matrix in layers], state)


def probabilities(state: Array) -> Array:
    return jnp.square(state.real) + jnp.square(state.imag)


def overlaps(pair: Array, parts: tuple[range, ...]) -> Array:
    """Im tr(σ R_q), R_q[a, b] = Σ_rest ψ[a] λ*[b], of the pair (ψ, λ) of shape (2, 2ⁿ): shape (n, 3), axes X Y Z."""
    moments = []
    for group in parts:
        psi, cotangent = pair.reshape(2, -1, 2 ** len(group), 2**group.start)
        reduced = jnp.einsum("lar,lbr->ab", psi, cotangent.conj())
        index, coefficient = circuit.pauli_elements(len(group))
        elements = reduced.ravel()[jnp.asarray(index, jnp.int32)]
        moments.append((jnp.asarray(coefficient, pair.dtype) * elements).sum(axis=-1).imag)
    return jnp.concatenate(moments)


def kernel_product(config: QcbmConfig, sigmas: Array, q: Array) -> Array:
    """K q for q (2ⁿ,), K = Σ_σ exp(−|x−y|²/2σ); the 2ⁿ x 2ⁿ matrix is formed only where the configuration says so."""
    size = len(q)
    if config.kernel == "hamming":
        distances = [circuit.hamming_distances(len(group)) for group in circuit.groups(config.qubits)]
        factors = [jnp.exp(-jnp.asarray(h, q.dtype) / (2 * sigmas[:, None, None])) for h in distances]
        return rotate(factors, jnp.broadcast_to(q, (len(sigmas), size))).sum(axis=0)
    x = jnp.arange(size, dtype=q.dtype)
    if config.dense_kernel:
        return jnp.exp(-jnp.square(x[:, None] - x) / (2 * sigmas[:, None, None])).sum(axis=0) @ q
    column = jnp.exp(-jnp.square(x) / (2 * sigmas[:, None])).sum(axis=0)
    circulant = jnp.concatenate([column, jnp.zeros_like(column[:1]), column[:0:-1]])
    return jnp.fft.irfft(jnp.fft.rfft(circulant) * jnp.fft.rfft(q, 2 * size), 2 * size)[:size]


def build(config: QcbmConfig, method: str) -> Functions:
    """The task's functions on JAX arrays, all of them traceable in (theta, data)."""
    n, depth = config.qubits, config.depth
    slots = circuit.angle_slots(n, depth)
    parts = circuit.groups(n)

    def angle_table(theta: Array) -> Array:
        """θ (P,) as angles (d+1, n, 3); absent gates turn by zero, so that all layers look the same to the scan."""
        empty = jnp.zeros((depth + 1) * n * 3, theta.dtype)
        return empty.at[slots].set(theta, unique_indices=True).reshape(depth + 1, n, 3)

    def layers_of(table: Array) -> Matrices:
        unitary = unitaries(table)
        return [merge(unitary, group) for group in parts]

    def distribution(theta: Array, data: Data) -> Array:
        return probabilities(evolve(layers_of(angle_table(theta)), data["permutation"]))

    def discrepancy(p: Array, data: Data) -> tuple[Array, Array]:
        """L = qᵀKq and Kq, q = p − π."""
        q = p - data["target"]
        kq = kernel_product(config, data["sigmas"], q)
        return q @ kq, kq

    def value(theta: Array, data: Data) -> Array:
        return discrepancy(distribution(theta, data), data)[0]

    def adjoint(theta: Array, data: Data) -> tuple[Array, Array]:
        """Un-applies the gates from ψ and λ = (dL/dp) ∘ ψ together; dL = 2 Re <λ|dψ> = m · Im tr(σ R) dθ."""
        table, gather = angle_table(theta), data["permutation"]
        layers = layers_of(table)
        psi = evolve(layers, gather)
        loss, kq = discrepancy(probabilities(psi), data)
        inverse = (
            jnp.zeros_like(gather).at[gather].set(jnp.arange(len(gather), dtype=gather.dtype), unique_indices=True)
        )

        def step_back(pair: Array, matrices: Matrices) -> tuple[Array, Array]:
            before = rotate([matrix.mT.conj() for matrix in matrices], pair)
            pair = entangle(before, inverse)
            return pair, overlaps(pair, parts)

        pair = jnp.stack([psi, 2 * kq * psi])
        last = overlaps(pair, parts)
        _, moments = jax.lax.scan(step_back, pair, [matrix[1:] for matrix in layers], reverse=True)
        by_layer = jnp.concatenate([moments, last[None]])
        return loss, jnp.einsum("lqga,lqa->lqg", axes(table), by_layer).ravel()[slots]

    def parameter_shift(theta: Array, data: Data) -> tuple[Array, Array]:
        """dL/dθ_k = (Kq) · (p(θ + π/2 e_k) − p(θ − π/2 e_k)), from 2P circuits, a chunk of them at a time."""
        loss, kq = discrepancy(distribution(theta, data), data)

        def component(k: Array) -> Array:
            plus, minus = theta.at[k].add(jnp.pi / 2), theta.at[k].add(-jnp.pi / 2)
            return (distribution(plus, data) - distribution(minus, data)) @ kq

        pairs = circuit.circuits_at_once(n, depth, theta.dtype.itemsize) // 2
        gradient = jax.lax.map(component, jnp.arange(theta.size), batch_size=min(pairs, theta.size))
        return loss, gradient

    def outputs(theta: Array, data: Data) -> Data:
        return {"distribution": distribution(theta, data)}

    def work(theta: Array, data: Data) -> dict[str, int]:
        tally, gather = circuit.Tally(), data["permutation"]
        with jax.disable_jit():  # the scan's body then really runs once a layer
            evolve(layers_of(angle_table(theta)), gather, tally.rotating(rotate), tally.entangling(entangle))
        return tally.work(theta.size, slots.size, np.asarray(data["cnots"]), np.asarray(gather))

    gradients = {"reverse": jax.value_and_grad(value), "adjoint": adjoint, "parameter_shift": parameter_shift}
    return Functions(value, gradients[method], outputs, work, "jit", value if method == "reverse" else None)
