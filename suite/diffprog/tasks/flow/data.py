"""The batches that the flow is fitted to, and the preprocessing of images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from diffprog.errors import UsageError
from diffprog.spec import Array

ALPHA = 1e-6
"""Keeps the logit finite at black and white: y = logit(α + (1 − 2α) z)."""
MNIST = "DIFFPROG_MNIST"
"""Environment variable naming an .npz file of MNIST with an array ``x_train`` of shape (n, 28, 28), 0..255."""


def draw(source: str, batch: int, dim: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """A batch (B, d) in float64 and ln |dy/dx| of its preprocessing (B,), x in grey levels.

    Raises:
        UsageError: if the file named by ``DIFFPROG_MNIST`` cannot be read.
    """
    if source == "normal":
        return rng.standard_normal((batch, dim)), np.zeros(batch)
    if source == "two moons":
        from sklearn.datasets import make_moons

        points, _ = make_moons(batch, noise=0.05, random_state=int(rng.integers(2**31)))
        return np.asarray(points, dtype=np.float64), np.zeros(batch)
    images, levels = _digits() if source == "digits" else _images_28x28()
    chosen = images[rng.choice(len(images), batch, replace=False)]
    return dequantise(chosen, levels, rng)


def dequantise(images: Array, levels: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Grey levels 0..levels−1 of shape (B, d) to y = logit(α + (1 − 2α)(x + u)/levels), u ~ U(0, 1), and ln |dy/dx|.

    Source: Papamakarios et al., "Masked autoregressive flow", arXiv:1705.07057, section 4.3 and appendix.
    """
    z = (images + rng.uniform(size=images.shape)) / levels
    s = ALPHA + (1 - 2 * ALPHA) * z
    log_jacobian = np.log((1 - 2 * ALPHA) / (s * (1 - s) * levels)).sum(axis=1)
    return np.log(s) - np.log1p(-s), log_jacobian


def grey(y: Array) -> Array:
    """The inverse of ``dequantise`` up to the noise: z in (0, 1), for pictures."""
    z: Array = (1 / (1 + np.exp(-np.clip(y, -700, 700))) - ALPHA) / (1 - 2 * ALPHA)
    return z


def _digits() -> tuple[Array, int]:
    """Scikit-learn's 1797 handwritten digits, 8×8, 17 grey levels."""
    from sklearn.datasets import load_digits

    return np.asarray(load_digits().data, dtype=np.float64), 17


def _images_28x28() -> tuple[Array, int]:
    """MNIST from the file that ``DIFFPROG_MNIST`` names; without one, scikit-learn's digits enlarged to 28×28.

    The enlarged digits have MNIST's shape and cost, not its likelihood: `describe` says which was used.
    """
    path = os.environ.get(MNIST)
    if path is None:
        from scipy.ndimage import zoom

        small, _ = _digits()
        enlarged = zoom(small.reshape(-1, 8, 8), (1, 3.5, 3.5), order=1, grid_mode=True, mode="nearest")
        return np.rint(enlarged * 255 / 16).clip(0, 255).reshape(-1, 784), 256
    try:
        with np.load(Path(path)) as file:
            images = np.asarray(file["x_train"], dtype=np.float64).reshape(-1, 784)
    except (OSError, KeyError, ValueError) as error:
        raise UsageError(f"{MNIST}={path}: not an .npz file with an array x_train of 28×28 images ({error})") from error
    return images, 256


def describe(source: str) -> str:
    """What the batch really is, for the report."""
    if source != "images of 28x28":
        return source
    path = os.environ.get(MNIST)
    return f"MNIST from {path}" if path else f"scikit-learn's digits enlarged to 28×28 (set {MNIST} for MNIST)"
