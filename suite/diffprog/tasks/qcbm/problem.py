"""The problems of the quantum circuit Born machine: variants, sizes, inputs, the work that they are.

Source: Liu, Wang, "Differentiable learning of quantum circuit Born machines", arXiv:1804.04168: the circuit and
loss of its model section, the data sets of its numerical experiments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffprog.circuits import tables
from diffprog.errors import UsageError
from diffprog.spec import Array, Arrays, Layout
from diffprog.tasks.qcbm import targets


@dataclass(frozen=True)
class QcbmConfig:
    """One problem: ``depth`` d ≥ 1, so d+1 layers of rotations, on ``qubits`` n."""

    variant: str
    size: str
    qubits: int
    depth: int
    kernel: str
    """Distance in the loss's kernel: "integer" |x−y|² or "hamming"."""
    dense_kernel: bool
    """Whether K is formed as a 2ⁿ x 2ⁿ matrix; integers only, the Hamming kernel is always factorised."""
    entangler: str
    """Which qubits the CNOTs join: "ring", "chow_liu" (tree of the target) or "published" (the paper's tree)."""
    peaks: int = 0
    """Gaussians in the target; 0 for bars and stripes."""
    rows: int = 0
    columns: int = 0
    """Pixels of bars and stripes; 0 for Gaussians."""


def _gaussian(size: str, qubits: int, depth: int, peaks: int) -> QcbmConfig:
    return QcbmConfig("gaussian", size, qubits, depth, "integer", qubits <= 8, "ring", peaks)


def _bars(size: str, rows: int, columns: int, depth: int, entangler: str = "chow_liu") -> QcbmConfig:
    return QcbmConfig(
        "bars_and_stripes", size, rows * columns, depth, "hamming", False, entangler, rows=rows, columns=columns
    )


_CONFIGS = (
    _gaussian("tiny", 4, 3, 1),
    _gaussian("small", 6, 10, 1),
    _gaussian("medium", 12, 10, 2),
    _gaussian("large", 20, 10, 2),
    _bars("tiny", 2, 2, 3),
    _bars("small", 3, 3, 10, "published"),
    _bars("medium", 3, 4, 10),
    _bars("large", 4, 5, 10),
)
_SIZES = {(config.variant, config.size): config for config in _CONFIGS}
SIGMAS = {"integer": (0.25, 4.0), "hamming": (0.5, 1.0, 2.0, 4.0)}


def configure(variant: str, size: str) -> QcbmConfig:
    try:
        return _SIZES[variant, size]
    except KeyError:
        raise UsageError(f"task qcbm has no variant {variant!r} of size {size!r}") from None


def layout(config: QcbmConfig) -> Layout:
    return tables.layout(config.qubits, config.depth)


def target(config: QcbmConfig) -> Array:
    """π, of shape (2ⁿ,), float64."""
    if config.variant == "bars_and_stripes":
        return targets.uniform_over(targets.bars_and_stripes(config.rows, config.columns))
    last = 2**config.qubits - 1
    if config.peaks == 1:
        return targets.gaussian_mixture(config.qubits, (last / 2,), (2**config.qubits / 4) ** 2)
    return targets.gaussian_mixture(config.qubits, (2 / 7 * last, 5 / 7 * last), last**2 / 64)


def cnots(config: QcbmConfig) -> Array:
    """(control, target) pairs in the order in which they act: shape (m, 2), int64."""
    if config.entangler == "ring":
        return tables.ring(config.qubits)
    if config.entangler == "published":
        return np.array(targets.PUBLISHED_TREE, dtype=np.int64)
    return targets.chow_liu_tree(targets.bars_and_stripes(config.rows, config.columns))


def draw(config: QcbmConfig, seed: int) -> Arrays:
    """Inputs of a case.

    ``params`` (P,), ``target`` (2ⁿ,) and ``sigmas`` (k,) are float64; ``cnots`` (m, 2) and ``permutation`` (2ⁿ,), the
    same CNOTs as one gather ``state[permutation]``, are int64. Angles are uniform on [0, 2π), as in the paper.
    """
    pairs = cnots(config)
    return {
        "params": np.random.default_rng(seed).uniform(0, 2 * np.pi, layout(config).size),
        "target": target(config),
        "cnots": pairs,
        "permutation": tables.permutation(pairs, config.qubits),
        "sigmas": np.array(SIGMAS[config.kernel]),
    }


def work(config: QcbmConfig) -> dict[str, int]:
    """Gates of one evaluation of the circuit. What a method repeats is the method's affair."""
    parameters = (3 * config.depth + 1) * config.qubits
    return {
        "parameters": parameters,
        "rotations": parameters,
        "cnots": config.depth * len(cnots(config)),
        "layers": config.depth + 1,
        "qubits": config.qubits,
    }


def extent(config: QcbmConfig) -> tuple[str, float]:
    """The state vector: each of the d layers passes over it. The depth grows too, from 3 at tiny to 10."""
    return "2ⁿ amplitudes", float(1 << config.qubits)


def memory(config: QcbmConfig, method: str, itemsize: int) -> int:
    """Counted in complex states of 2ⁿ amplitudes.

    All methods hold some 12 (ψ, λ, what becomes of them, temporaries) and the kernel: 3 for the FFT's padding and
    spectra, one real and its image a bandwidth for Hamming. ``reverse`` keeps one for each layer's CNOTs and for each
    group's matrix product, the kernel's included, and one more layer of cotangents; ``adjoint`` keeps nothing;
    ``parameter_shift`` a chunk of circuits. Merged matrices of all layers, index arrays and inputs come on top.
    """
    n, depth = config.qubits, config.depth
    size = 1 << n
    state = 2 * itemsize * size
    parts = tables.groups(n)
    bandwidths = len(SIGMAS[config.kernel])
    if config.kernel == "hamming":
        kernel = bandwidths * state * (len(parts) if method == "reverse" else 1)
    else:
        kernel = (bandwidths + 1) * itemsize * size**2 if config.dense_kernel else 3 * state
    matrices = 4 * 2 * itemsize * (depth + 1) * sum(1 << 2 * len(part) for part in parts)
    total = 12 * state + kernel + matrices + 4 * 8 * size
    if method == "reverse":
        total += (depth + 2) * (len(parts) + 1) * state
    elif method == "parameter_shift":
        together = min(2 * layout(config).size, tables.circuits_at_once(n, depth, itemsize))
        total += together * tables.circuit_bytes(n, depth, itemsize)
    return total
