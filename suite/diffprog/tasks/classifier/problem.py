"""The problems of circuits that classify: variants, sizes, inputs, the work that they are.

Sources: Schuld, Bocharov, Svore, Wiebe, "Circuit-centric quantum classifiers", arXiv:1804.00633, and Farhi, Neven,
arXiv:1802.06002 (`digits`: data as amplitudes, one qubit measured); Pérez-Salinas et al., "Data re-uploading for a
universal quantum classifier", arXiv:1907.02085 (`reuploading`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffprog.circuits import tables
from diffprog.errors import UsageError
from diffprog.spec import Arrays, Block, Layout
from diffprog.tasks.classifier import images, moons


@dataclass(frozen=True)
class ClassifierConfig:
    """One problem: d+1 layers of rotations, ``depth`` d ≥ 1, on ``qubits`` n, and B ``samples``.

    Raises:
        UsageError: for numbers that make no such problem.
    """

    variant: str
    size: str
    qubits: int
    depth: int
    samples: int

    def __post_init__(self) -> None:
        if self.depth < 1 or self.samples < 1:
            raise UsageError(
                f"{self.variant} needs at least one layer and one sample, not {self.depth} and {self.samples}"
            )
        if self.qubits < 2 or self.qubits % 2:
            raise UsageError(
                f"{self.variant} needs an even number of qubits, not {self.qubits}: "
                "a state is a square image, or has two halves that are encoded alike"
            )
        if self.uploads_images and self.side not in (images.SIDE // 2, *(images.SIDE * k for k in (1, 2, 4))):
            raise UsageError(f"digits have 4, 8, 16 or 32 pixels a side, not {self.side}")

    @property
    def uploads_images(self) -> bool:
        """Whether a sample is the state that the circuit starts from; else it is encoded in every layer."""
        return self.variant == "digits"

    @property
    def source(self) -> str:
        """The name of the samples among the inputs."""
        return "images" if self.uploads_images else "points"

    @property
    def side(self) -> int:
        """Pixels of a side of an image whose pixels are the 2ⁿ amplitudes."""
        return 1 << self.qubits // 2


_CONFIGS = (
    ClassifierConfig("digits", "tiny", 4, 2, 8),
    ClassifierConfig("digits", "small", 6, 6, 100),
    ClassifierConfig("digits", "medium", 8, 10, 256),
    ClassifierConfig("digits", "large", 10, 20, 1024),
    ClassifierConfig("reuploading", "tiny", 2, 2, 8),
    ClassifierConfig("reuploading", "small", 4, 4, 100),
    ClassifierConfig("reuploading", "medium", 4, 8, 1000),
    ClassifierConfig("reuploading", "large", 4, 16, 10_000),
)
_SIZES = {(config.variant, config.size): config for config in _CONFIGS}
_STREAM = 1
"""Of the random numbers that choose the samples."""


def configure(variant: str, size: str) -> ClassifierConfig:
    try:
        return _SIZES[variant, size]
    except KeyError:
        raise UsageError(f"task classifier has no variant {variant!r} of size {size!r}") from None


def layout(config: ClassifierConfig) -> Layout:
    """The angles of the rotations, layer by layer, each (qubit, gate); of `digits` as the Born machine has them."""
    if config.uploads_images:
        return tables.layout(config.qubits, config.depth)
    return Layout(tuple(Block(f"layer{layer}", (config.qubits, 3)) for layer in range(config.depth + 1)))


def draw(config: ClassifierConfig, seed: int) -> Arrays:
    """Inputs of a case.

    ``params`` (P,) is uniform on [0, 2π). ``images`` (B, 2ⁿ), real amplitudes of norm 1, or ``points`` (B, 2), angles
    in radians; ``labels`` (B,), 0.0 or 1.0; ``held_images`` or ``held_points`` and ``held_labels``, which the loss does
    not see and no seed changes; ``cnots`` (m, 2) and ``permutation`` (2ⁿ,), int64, the same CNOTs as one gather.
    """
    rng = np.random.default_rng([seed, _STREAM])
    if config.uploads_images:
        samples, labels = images.draw(config.samples, config.side, rng)
        held, held_labels = images.held_out(config.side)
    else:
        samples, labels = moons.draw(config.samples, rng)
        held, held_labels = moons.held_out()
    cnots = tables.ring(config.qubits)
    return {
        "params": np.random.default_rng(seed).uniform(0, 2 * np.pi, layout(config).size),
        config.source: samples,
        "labels": labels,
        f"held_{config.source}": held,
        "held_labels": held_labels,
        "cnots": cnots,
        "permutation": tables.permutation(cnots, config.qubits),
    }


def describe(config: ClassifierConfig) -> str:
    if config.uploads_images:
        return f"{config.samples} handwritten zeros and ones of {config.side}x{config.side} pixels"
    return f"{config.samples} points of two moons"


def work(config: ClassifierConfig) -> dict[str, int]:
    """Gates of the circuit that a sample passes through, and samples. What a method repeats is the method's affair."""
    n, layers, rotations = config.qubits, config.depth + 1, layout(config).size
    counts = {
        "parameters": rotations,
        "rotations": rotations,
        "cnots": config.depth * len(tables.ring(n)),
        "layers": layers,
        "qubits": n,
        "samples": config.samples,
    }
    return counts if config.uploads_images else counts | {"encodings": 2 * n * layers}


def extent(config: ClassifierConfig) -> tuple[str, float]:
    """The states of the batch: every layer passes over them. The depth grows too."""
    return "2ⁿB amplitudes", float(config.samples << config.qubits)


def memory(config: ClassifierConfig, method: str, itemsize: int) -> int:
    """Counted in batches of B complex states of 2ⁿ amplitudes.

    All methods hold some 12: ψ, λ, what becomes of them, temporaries, and the encodings, of which there are as many
    numbers. ``reverse`` keeps one for each layer's CNOTs, each group's product and each half's encoding; ``adjoint``
    keeps nothing; ``parameter_shift`` a chunk of batches.
    """
    n, depth, samples = config.qubits, config.depth, config.samples
    batch = 2 * itemsize * samples << n
    parts = tables.groups(n)
    matrices = 4 * 2 * itemsize * (depth + 1) * sum(1 << 2 * len(part) for part in parts)
    total = 12 * batch + matrices + 4 * 8 * ((samples + 128) << n)
    if method == "reverse":
        total += (depth + 2) * (len(parts) + (1 if config.uploads_images else 3)) * batch
    elif method == "parameter_shift":
        together = min(2 * layout(config).size, tables.circuits_at_once(n, depth, itemsize, samples))
        total += together * tables.circuit_bytes(n, depth, itemsize, samples)
    return total
