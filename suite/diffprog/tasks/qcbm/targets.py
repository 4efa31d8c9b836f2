"""What the machine is to learn, and which qubits its CNOTs join: host-side, NumPy, float64.

Sources: Liu, Wang, "Differentiable learning of quantum circuit Born machines", arXiv:1804.04168 (targets,
entangling layouts); Chow, Liu, IEEE Trans. Inf. Theory 14, 462 (1968) (the tree).
"""

from __future__ import annotations

import numpy as np

from diffprog.spec import Array

PUBLISHED_TREE = ((0, 2), (1, 2), (2, 5), (2, 8), (3, 5), (4, 5), (6, 7), (6, 8))
"""The (control, target) pairs used in arXiv:1804.04168 for 3x3 bars and stripes."""


def gaussian_mixture(qubits: int, means: tuple[float, ...], variance: float) -> Array:
    """Equal-weight Gaussians on the integers 0..2ⁿ−1, normalised on that grid: shape (2ⁿ,), float64."""
    x = np.arange(2**qubits, dtype=np.float64)
    weights = np.exp(-((x[:, None] - np.array(means)) ** 2) / (2 * variance)).sum(axis=1)
    return np.asarray(weights / weights.sum())


def bars_and_stripes(rows: int, columns: int) -> Array:
    """The 2^rows + 2^columns − 2 valid patterns, one a row: shape (patterns, rows·columns), int64, 0 or 1.

    Pixel (i, j) is qubit i·columns + j.
    """
    stripes = np.repeat(_bits(rows), columns, axis=1)
    bars = np.tile(_bits(columns), (1, rows))
    return np.unique(np.concatenate([stripes, bars]), axis=0)


def uniform_over(patterns: Array) -> Array:
    """The distribution that is uniform over bit patterns (m, n) of qubits 0..n−1: shape (2ⁿ,), float64."""
    n = patterns.shape[1]
    target = np.zeros(2**n)
    target[patterns @ (1 << np.arange(n))] = 1 / len(patterns)
    return target


def mutual_information(patterns: Array) -> Array:
    """Pairwise mutual information in nats of the bits of equally likely patterns (m, n): shape (n, n), float64."""
    one_hot = np.stack([1 - patterns, patterns], axis=-1).astype(np.float64)
    joint = np.einsum("mia,mjb->ijab", one_hot, one_hot) / len(patterns)
    marginal = one_hot.mean(axis=0)
    independent = marginal[:, None, :, None] * marginal[None, :, None, :]
    ratio = np.divide(joint, independent, out=np.ones_like(joint), where=joint > 0)
    return np.asarray((joint * np.log(ratio)).sum(axis=(2, 3)))


def chow_liu_tree(patterns: Array) -> Array:
    """The maximum spanning tree of the mutual information, by Kruskal: shape (n−1, 2), int64, pairs i < j in order.

    Ties go to the lexicographically first pair. Information is compared to 12 digits: patterns that are equal by
    symmetry differ in rounding, and the tree must be the same on every machine.
    """
    information = mutual_information(patterns).round(12)
    n = len(information)
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    component = list(range(n))
    tree = []
    for i, j in sorted(pairs, key=lambda pair: (-information[pair], pair)):
        if component[i] != component[j]:
            tree.append((i, j))
            component = [component[i] if c == component[j] else c for c in component]
    return np.array(sorted(tree), dtype=np.int64).reshape(-1, 2)


def _bits(count: int) -> Array:
    """All words of ``count`` bits: shape (2^count, count), int64."""
    return np.arange(2**count)[:, None] >> np.arange(count) & 1
