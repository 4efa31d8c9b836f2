"""The problems of the quantum circuit Born machine: variants, sizes, inputs, the work that they are.

Sources: Liu, Wang, "Differentiable learning of quantum circuit Born machines", arXiv:1804.04168: the circuit and
loss of its model section, the data sets of its numerical experiments. ``adversarial``: Zeng, Wu, Liu, Wang, Hu,
"Learning and inference on generative adversarial quantum circuits", arXiv:1808.03425.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from diffprog.circuits import tables
from diffprog.errors import UsageError
from diffprog.spec import Array, Arrays, Block, Layout
from diffprog.tasks.qcbm import targets


@dataclass(frozen=True)
class QcbmConfig:
    """One problem: ``depth`` d ≥ 1, so d+1 layers of rotations, on ``qubits`` n."""

    variant: str
    size: str
    qubits: int
    depth: int
    kernel: str
    """Distance in the loss's kernel: "integer" |x−y|² or "hamming"; empty where the loss is a discriminator's."""
    dense_kernel: bool
    """Whether K is formed as a 2ⁿ x 2ⁿ matrix; integers only, the Hamming kernel is always factorised."""
    entangler: str
    """Which qubits the CNOTs join: "ring", "chow_liu" (tree of the target) or "published" (the paper's tree)."""
    peaks: int = 0
    """Gaussians in the target; 0 for bars and stripes."""
    rows: int = 0
    columns: int = 0
    """Pixels of bars and stripes; 0 for Gaussians."""
    hidden: int = 0
    """Hidden units of the discriminator; 0 where the loss has none."""


def _gaussian(size: str, qubits: int, depth: int, peaks: int) -> QcbmConfig:
    return QcbmConfig("gaussian", size, qubits, depth, "integer", qubits <= 8, "ring", peaks)


def _bars(size: str, rows: int, columns: int, depth: int, entangler: str = "chow_liu") -> QcbmConfig:
    return QcbmConfig(
        "bars_and_stripes", size, rows * columns, depth, "hamming", False, entangler, rows=rows, columns=columns
    )


def _game(size: str, rows: int, columns: int, depth: int, entangler: str = "chow_liu") -> QcbmConfig:
    """The machine that ``bars_and_stripes`` has, against a discriminator."""
    machine = _bars(size, rows, columns, depth, entangler)
    return replace(machine, variant="adversarial", kernel="", hidden=2 * machine.qubits)


_CONFIGS = (
    _gaussian("tiny", 4, 3, 1),
    _gaussian("small", 6, 10, 1),
    _gaussian("medium", 12, 10, 2),
    _gaussian("large", 20, 10, 2),
    _bars("tiny", 2, 2, 3),
    _bars("small", 3, 3, 10, "published"),
    _bars("medium", 3, 4, 10),
    _bars("large", 4, 5, 10),
    _game("tiny", 2, 2, 3),
    _game("small", 3, 3, 10, "published"),
    _game("medium", 3, 4, 10),
    _game("large", 4, 5, 10),
)
_SIZES = {(config.variant, config.size): config for config in _CONFIGS}
SIGMAS = {"integer": (0.25, 4.0), "hamming": (0.5, 1.0, 2.0, 4.0)}


def configure(variant: str, size: str) -> QcbmConfig:
    try:
        return _SIZES[variant, size]
    except KeyError:
        raise UsageError(f"task qcbm has no variant {variant!r} of size {size!r}") from None


def angles(config: QcbmConfig) -> int:
    """How many angles the circuit has; they come first in θ."""
    return (3 * config.depth + 1) * config.qubits


def layout(config: QcbmConfig) -> Layout:
    """The angles, layer by layer; of ``adversarial`` in one block, and then the discriminator's weights."""
    if not config.hidden:
        return tables.layout(config.qubits, config.depth)
    n, hidden = config.qubits, config.hidden
    weights = (Block("W1", (hidden, n)), Block("b1", (hidden,)), Block("W2", (hidden,)), Block("b2", ()))
    return Layout((Block("angles", (angles(config),)), *weights))


def target(config: QcbmConfig) -> Array:
    """π, of shape (2ⁿ,), float64."""
    if config.rows:
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


def weights(config: QcbmConfig, rng: np.random.Generator) -> Array:
    """The discriminator's: normal, of variance 1/n into the hidden units and 1/2n out of them, biases like the rest.

    Source: LeCun, Bottou, Orr, Müller, "Efficient BackProp", 1998, section 4.6: sums of variance one.
    """
    into, out = config.hidden * (config.qubits + 1), config.hidden + 1
    scales = np.repeat([config.qubits**-0.5, config.hidden**-0.5], [into, out])
    return np.asarray(scales * rng.standard_normal(into + out))


def spins(qubits: int) -> Array:
    """The bits of all x as ±1, 1 for a bit that is set: shape (2ⁿ, n), float64."""
    return 2.0 * (np.arange(2**qubits)[:, None] >> np.arange(qubits) & 1) - 1


def draw(config: QcbmConfig, seed: int) -> Arrays:
    """Inputs of a case.

    ``params`` (P,) and ``target`` (2ⁿ,) are float64, as are the ``sigmas`` (k,) of a kernel and the ``spins`` (2ⁿ, n)
    that a discriminator is shown; ``cnots`` (m, 2) and ``permutation`` (2ⁿ,), the same CNOTs as one gather
    ``state[permutation]``, are int64. Angles are uniform on [0, 2π), as in the paper.
    """
    pairs, rng = cnots(config), np.random.default_rng(seed)
    drawn = rng.uniform(0, 2 * np.pi, angles(config))
    common = {"target": target(config), "cnots": pairs, "permutation": tables.permutation(pairs, config.qubits)}
    if config.hidden:
        theta = np.concatenate([drawn, weights(config, rng)])
        return {"params": theta, **common, "spins": spins(config.qubits)}
    return {"params": drawn, **common, "sigmas": np.array(SIGMAS[config.kernel])}


def work(config: QcbmConfig) -> dict[str, int]:
    """Gates of one evaluation of the circuit, and activations of hidden units. What a method repeats is its affair."""
    found = {
        "parameters": layout(config).size,
        "rotations": angles(config),
        "cnots": config.depth * len(cnots(config)),
        "layers": config.depth + 1,
        "qubits": config.qubits,
    }
    return found | {"activations": config.hidden << config.qubits} if config.hidden else found


def extent(config: QcbmConfig) -> tuple[str, float]:
    """The state vector: each of the d layers passes over it. The depth grows too, from 3 at tiny to 10."""
    return "2ⁿ amplitudes", float(1 << config.qubits)


def memory(config: QcbmConfig, method: str, itemsize: int) -> int:
    """Counted in complex states of 2ⁿ amplitudes.

    All methods hold some 12 (ψ, λ, what becomes of them, temporaries) and what the loss needs: a kernel 3 for the
    FFT's padding and spectra, one real and its image a bandwidth for Hamming; a discriminator the bits and some five
    arrays of 2ⁿ x 2n: activations, slopes, cotangents. ``reverse`` keeps one for each layer's CNOTs and for each
    group's matrix product, the kernel's included, and one more layer of cotangents; ``adjoint`` keeps nothing;
    ``parameter_shift`` a chunk of circuits. Merged matrices of all layers, index arrays and inputs come on top.
    """
    n, depth = config.qubits, config.depth
    size = 1 << n
    state = 2 * itemsize * size
    parts = tables.groups(n)
    bandwidths = len(SIGMAS.get(config.kernel, ()))
    if config.hidden:
        loss = itemsize * size * (2 * n + 5 * config.hidden)
    elif config.kernel == "hamming":
        loss = bandwidths * state * (len(parts) if method == "reverse" else 1)
    else:
        loss = (bandwidths + 1) * itemsize * size**2 if config.dense_kernel else 3 * state
    matrices = 4 * 2 * itemsize * (depth + 1) * sum(1 << 2 * len(part) for part in parts)
    total = 12 * state + loss + matrices + 4 * 8 * size
    if method == "reverse":
        total += (depth + 2) * (len(parts) + 1) * state
    elif method == "parameter_shift":
        together = min(2 * angles(config), tables.circuits_at_once(n, depth, itemsize))
        total += together * tables.circuit_bytes(n, depth, itemsize)
    return total
