"""What tasks demand, against counts that share nothing with the formulas: PyTorch's own, and algorithms carried out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diffprog import tasks
from diffprog.circuits import tables
from diffprog.declaration import Demand, Task
from diffprog.spec import SIZES, Array
from diffprog.tasks.classifier import demand as classifier
from diffprog.tasks.eigensolver import demand as eigensolver
from diffprog.tasks.eigensolver import hamiltonian
from diffprog.tasks.qcbm import demand as qcbm
from diffprog.tasks.qcbm.problem import QcbmConfig
from diffprog.tasks.trg import demand as trg
from diffprog.tasks.trg import lattice
from diffprog.tasks.vqe import demand as vqe


def of(task: Task, config: Any, method: str, operator: str, itemsize: int = 8) -> Demand:
    found = task.demand(config, method, operator, itemsize)
    assert found is not None
    return found


def counted_by_torch(task: str, config: Any, method: str, operator: str) -> int:
    """Flops of the products that PyTorch really dispatches, forwards and backwards."""
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    declared = tasks.get(task)
    functions = tasks.functions(task, "torch", config, method)
    data = {name: torch.from_numpy(array) for name, array in declared.draw(config, 0).items()}
    theta = data.pop("params")

    def of_mv(matrix: tuple[int, ...], vector: tuple[int, ...], *_: Any, **__: Any) -> int:
        return 2 * matrix[0] * matrix[1]

    def of_dot(first: tuple[int, ...], second: tuple[int, ...], *_: Any, **__: Any) -> int:
        return 0  # of two vectors: not of the order of what is counted

    known = {torch.ops.aten.mv: of_mv, torch.ops.aten.dot: of_dot}
    with FlopCounterMode(display=False, custom_mapping=known) as counter:
        getattr(functions, operator)(theta, data)
    return int(counter.get_total_flops())


@pytest.mark.parametrize("variant", ["density", "quadratic", "ring"])
@pytest.mark.parametrize("method", ["discrete", "checkpointed", "backsolve"])
def test_flow_is_what_torch_counts(variant: str, method: str) -> None:
    task = tasks.get("flow")
    config = replace(task.configure(variant, "tiny"), steps=3)
    batch, d, h = config.batch, config.dim, config.hidden or config.dim
    assert of(task, config, method, "value").flops == counted_by_torch("flow", config, method, "value")
    # What PyTorch computes beyond the least: divergences again, and the velocity of stages that nothing starts from.
    layer, divergence = 2 * batch * d * h, 0 if variant == "quadratic" else 2 * batch * h
    needless = {
        "discrete": 0,
        "checkpointed": 0 if variant == "quadratic" else config.steps * (layer + 3 * divergence),
        "backsolve": 2 * layer + 4 * config.steps * divergence,
    }
    counted = counted_by_torch("flow", config, method, "gradient")
    assert of(task, config, method, "gradient").flops == counted - needless[method]


@pytest.mark.parametrize("variant", ["classic", "disordered"])
def test_trg_is_what_torch_counts_and_the_factorisations(variant: str) -> None:
    task = tasks.get("trg")
    config = task.configure(variant, "tiny")
    plan = lattice.steps(config.side, config.chi, config.iterations)
    factorised = sum(2 * step.half * trg.bidiagonalisation(step.dim**2) for step in plan)
    for operator in ("value", "gradient"):
        counted = counted_by_torch("trg", config, "reverse", operator)
        assert of(task, config, "reverse", operator).flops == counted + factorised


def reflection(x: Any) -> Any:
    """The unit vector u for which (1 − 2uuᵀ) x has its first component alone."""
    u = x.copy()
    u[0] += np.copysign(np.linalg.norm(x), x[0])
    return u / np.linalg.norm(u)


def test_a_tridiagonalisation_that_takes_so_many_operations_is_right() -> None:
    """Householder's, on lower triangles; what is of the order of a vector is not counted."""
    matrix = np.random.default_rng(0).standard_normal((9, 9))
    matrix = matrix + matrix.T
    expected, flops = np.linalg.eigvalsh(matrix), 0
    for k in range(len(matrix) - 2):
        rest, below = matrix[k + 1 :, k + 1 :], matrix[k + 1 :, k].copy()
        u = reflection(below)
        matrix[k + 1 :, k] = matrix[k, k + 1 :] = below - 2 * (u @ below) * u
        w = rest @ u  # as many products and sums as the matrix has elements
        flops += 2 * w.size**2
        w = 2 * (w - (u @ w) * u)
        for row in range(w.size):
            for column in range(row + 1):  # two products and two sums for each element of the triangle
                rest[row, column] -= w[row] * u[column] + u[row] * w[column]
                rest[column, row] = rest[row, column]
                flops += 4
    assert np.abs(np.tril(matrix, -2)).max() < 1e-13
    assert np.linalg.eigvalsh(matrix) == pytest.approx(expected, abs=1e-13)
    assert flops == eigensolver.tridiagonalisation(9)


def test_a_bidiagonalisation_that_takes_so_many_operations_is_right() -> None:
    matrix = np.random.default_rng(0).standard_normal((7, 7))
    expected, flops = np.linalg.svd(matrix, compute_uv=False), 0
    for k in range(len(matrix) - 1):
        for side in (matrix[k:, k:], matrix[k:, k + 1 :].T):  # from the left on columns, from the right on rows
            if len(side) < 2:
                continue
            first, rest = side[:, 0].copy(), side[:, 1:]
            u = reflection(first)
            side[:, 0] = first - 2 * (u @ first) * u
            rest -= 2 * np.outer(u, u @ rest)  # a product and an update, two for each element
            flops += 4 * rest.size
    assert np.abs(matrix - np.triu(np.tril(matrix, 1))).max() < 1e-13
    assert np.linalg.svd(matrix, compute_uv=False) == pytest.approx(expected, abs=1e-13)
    assert flops == trg.bidiagonalisation(7)


@pytest.mark.parametrize("variant", ["gaussian", "bars_and_stripes"])
def test_a_circuit_and_kernel_that_take_so_many_operations_are_right(variant: str) -> None:
    """One phase an amplitude and a layer, Rx without its cosine, and the kernel bit by bit."""
    task = tasks.get("qcbm")
    config: QcbmConfig = task.configure(variant, "tiny")
    inputs = task.draw(config, 0)
    theta, n, size = inputs.pop("params"), config.qubits, 1 << config.qubits
    table = np.zeros((config.depth + 1) * n * 3)
    table[tables.angle_slots(n, config.depth)] = theta
    angles = table.reshape(config.depth + 1, n, 3)
    spins = 1 - 2 * (np.arange(size)[:, None] >> np.arange(n) & 1)
    flops, state, basis = 0, np.ones(size, np.complex128), np.arange(size)
    for q in range(n):  # a product state: a table, like the phases
        b = angles[0, q, 1]
        state *= np.where(spins[:, q] > 0, np.cos(b / 2), -1j * np.sin(b / 2))
    for layer in range(1, config.depth + 1):
        turn = np.exp(-0.5j * (spins @ angles[layer - 1, :, 2]))[inputs["permutation"]]
        turn = turn * np.exp(-0.5j * (spins @ angles[layer, :, 0])) * np.cos(angles[layer, :, 1] / 2).prod()
        state = turn * state[inputs["permutation"]]
        flops += 6 * size
        for q in range(n):
            t = np.tan(angles[layer, q, 1] / 2)
            state = state - 1j * t * state[basis ^ 1 << q]
            flops += 4 * size  # i exchanges parts: two products by a real number, two sums
    p = state.real**2 + state.imag**2
    flops += 3 * size
    assert flops == qcbm.circuit(config)
    functions = tasks.functions("qcbm", "numpy", config, "reverse")
    assert p == pytest.approx(functions.outputs(theta, inputs)["distribution"], abs=1e-14)

    difference, sigmas, flops = p - inputs["target"], inputs["sigmas"], 0
    if config.kernel == "hamming":
        found = []
        for sigma in sigmas:
            x = difference
            for q in range(n):
                x = x + np.exp(-1 / (2 * sigma)) * x[basis ^ 1 << q]
                flops += 2 * size
            found.append(x)
        product = sum(found)
        flops += (len(sigmas) - 1) * size
    else:
        distance = np.subtract.outer(basis, basis)
        product = np.exp(-(distance**2) / (2 * sigmas[:, None, None])).sum(axis=0) @ difference
        flops = min(2 * qcbm.real_fft(2 * size), size * (2 * size - 1))
    assert difference @ product == pytest.approx(functions.value(theta, inputs), abs=1e-14)
    assert flops == qcbm.kernel(config, len(sigmas))


def test_a_discriminator_that_takes_so_many_operations_is_right() -> None:
    """Bits in Gray order, one sum a unit for each string; on the way back a sum over all strings folds in two a bit."""
    task = tasks.get("qcbm")
    config: QcbmConfig = task.configure("adversarial", "tiny")
    inputs = task.draw(config, 0)
    theta, n, size, hidden = inputs.pop("params"), config.qubits, 1 << config.qubits, config.hidden
    functions = tasks.functions("qcbm", "numpy", config, "reverse")
    weights, target = task.layout(config).split(theta), inputs["target"]
    p, flops = functions.outputs(theta, inputs)["distribution"], 0
    sums, x = np.empty((size, hidden)), 0
    z = weights["b1"] - weights["W1"].sum(axis=1)  # of no bit set
    for count in range(size):
        sums[x] = z
        qubit = (~count & count + 1).bit_length() - 1  # the lowest zero of the counter
        if qubit < n:
            z = z + 2 * weights["W1"][:, qubit] * (-1 if x >> qubit & 1 else 1)  # a table of 2 W1: one sum a unit
            x ^= 1 << qubit
        flops += hidden
    units = np.tanh(sums)
    s = units @ weights["W2"] + weights["b2"]
    flops += 2 * hidden * size
    loss = target @ -np.log1p(np.exp(-s)) + p @ -np.log1p(np.exp(s))
    flops += 4 * size
    assert loss == pytest.approx(functions.value(theta, inputs), rel=1e-13)
    assert flops == qcbm.discriminator(config)

    said, flops = 1 / (1 + np.exp(-s)), 0
    r = target - (target + p) * said
    flops += 3 * size
    of_out = units.T @ r
    z_bar = (1 - units * units) * (r[:, None] * weights["W2"])
    flops += (2 + 4) * hidden * size
    folded, of_first = z_bar, np.empty((hidden, n))
    for qubit in reversed(range(n)):
        unset, is_set = np.split(folded, 2)
        of_first[:, qubit] = is_set.sum(axis=0)
        folded = unset + is_set
        flops += 2 * len(is_set) * hidden
    of_first = 2 * of_first - folded[0][:, None]
    found = task.layout(config).split(functions.gradient(theta, inputs)[1])
    for name, expected in {"W1": of_first, "b1": folded[0], "W2": of_out}.items():
        assert found[name] == pytest.approx(expected, abs=1e-14)
    assert 0 <= qcbm.taught(config) - flops <= 2 * hidden


@pytest.mark.parametrize("variant", ["tfim", "maxcut"])
def test_an_energy_that_takes_so_many_operations_is_right(variant: str) -> None:
    """One phase an amplitude and a layer, mixers without their cosines, H in pairs of amplitudes."""
    task = tasks.get("vqe")
    config = task.configure(variant, "tiny" if variant == "tfim" else "small")
    inputs = task.draw(config, 0)
    theta, n, size = inputs.pop("params"), config.qubits, 1 << config.qubits
    flops, basis, state = 0, np.arange(size), np.full(size, 2 ** (-n / 2), np.complex128)
    for layer, (gamma, beta) in enumerate(theta.reshape(2, -1).T):
        state = np.exp(-1j * gamma * inputs["diagonal"]) * np.cos(beta) ** n * state
        flops += 6 * size if layer else 0  # the first: a table, of a constant state
        for q in range(n):
            state = state - 1j * np.tan(beta) * state[basis ^ 1 << q]
            flops += 4 * size
    assert flops == size * vqe.circuit(config)
    found, flops = inputs["diagonal"] @ (state.real**2 + state.imag**2), 5 * size
    if variant == "tfim":
        for q in range(n):
            lower = basis[basis >> q & 1 == 0]
            one, other = state[lower], state[lower ^ 1 << q]
            found -= 2 * (one.real * other.real + one.imag * other.imag).sum()
            flops += 4 * lower.size
    assert flops == size * vqe.energy(config)
    value = tasks.functions("vqe", "numpy", config, "reverse").value(theta, inputs)
    assert (found if variant == "tfim" else -found) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("variant", ["digits", "reuploading"])
def test_a_classifier_that_takes_so_many_operations_is_right(variant: str) -> None:
    """One phase an amplitude before each layer of Rx, whose tables are not counted; of the last layer one qubit."""
    task = tasks.get("classifier")
    config = replace(task.configure(variant, "tiny"), qubits=4, depth=3)
    inputs = task.draw(config, 0)
    theta, n, size, digits = inputs.pop("params"), config.qubits, 1 << config.qubits, config.uploads_images
    table = np.zeros((config.depth + 1) * n * 3)
    table[tables.angle_slots(n, config.depth) if digits else slice(None)] = theta
    angles, gather, basis = table.reshape(config.depth + 1, n, 3), inputs["permutation"], np.arange(size)
    spins = 1 - 2 * (basis[:, None] >> np.arange(n) & 1)
    flops, total = 0, 0.0

    def phases(each: Array) -> Array:
        return np.asarray(np.exp(-0.5j * (spins @ each)))

    def turned(state: Array, each: Array) -> Array:
        for q, angle in enumerate(each):
            state = (state - 1j * np.tan(angle / 2) * state[basis ^ 1 << q]) * np.cos(angle / 2)
        return state

    for x, label in zip(inputs[config.source], inputs["labels"], strict=True):
        state = x if digits else np.eye(size)[0]
        for layer in range(config.depth):
            a, b, c = angles[layer].T
            if not digits:
                state = turned(state, np.full(n, x[0]))
                a = a + x[1]
                flops += (6 + 4 * n) * size if layer else 0  # the first: a product state
            state = turned(phases(a) * state if layer or not digits else state, b)
            if layer:
                flops += (6 + 4 * n) * size
            elif digits:
                flops += (1 + 4 * (n - 1)) * size  # of a real state one product makes the imaginary part
            state = (phases(c) * state)[gather]  # with the next layer's, which are counted there
        a, b, _ = angles[-1, -1]
        first, second = state.reshape(2, -1)
        if not digits:
            t, a = np.tan(x[0] / 2), a + x[1]
            first, second = first - 1j * t * second, second - 1j * t * first
        one, other = (first, second) if label == 1 else (second, first)
        turn = -1j * np.tan(b / 2) * np.exp(1j * a * (1 if label == 1 else -1))
        pair = one + turn * other  # r is a table too
        likely = np.cos(b / 2) ** 2 * (pair.real**2 + pair.imag**2).sum()
        flops += 12 * pair.size
        total -= np.log(likely if digits else likely * np.cos(x[0] / 2) ** 2) / config.samples
    assert flops == config.samples * size * classifier.circuit(config)
    assert total == pytest.approx(
        tasks.functions("classifier", "numpy", config, "reverse").value(theta, inputs), rel=1e-12
    )


def test_the_operator_that_is_counted_is_the_hamiltonian() -> None:
    theta, v = np.random.default_rng(0).uniform(0.5, 1.5, 10), np.random.default_rng(1).standard_normal(32)
    diagonal, flops = -(hamiltonian.bonds(5) @ theta[:5]), 0
    found = diagonal * v
    flops += v.size
    for site, field in enumerate(theta[5:]):
        found = found - field * v[np.arange(32) ^ 1 << site]
        flops += 2 * v.size
    assert found == pytest.approx(hamiltonian.Operator(theta)(v), abs=1e-13)
    assert flops == eigensolver.application(5)


@pytest.mark.parametrize("name", tasks.NAMES)
def test_demands_grow_and_gradients_ask_for_more(name: str) -> None:
    task = tasks.get(name)
    for variant in task.variants:
        for method in (m for m in task.methods if m != "library"):
            before = 0.0
            for size in SIZES:
                config = task.configure(variant, size)
                value, gradient = (of(task, config, method, what) for what in ("value", "gradient"))
                assert before < value.flops <= gradient.flops
                assert 0 < value.bytes < gradient.bytes
                assert 2 * of(task, config, method, "gradient", 4).moved(0) == gradient.moved(0)
                before = value.flops
    assert task.demand(config, task.methods[0], "hvp", 8) is None


def test_what_a_cache_holds_is_not_moved() -> None:
    demand = Demand(flops=1, bytes=10, resident=100, sweeps=3)
    assert [demand.moved(cache) for cache in (0, 40, 100, 1e9)] == [310, 190, 10, 10]
