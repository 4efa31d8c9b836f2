"""Handwritten digits as amplitudes: scikit-learn's zeros and ones, at four resolutions.

Source: Alpaydin, Kaynak, "Optical recognition of handwritten digits", UCI machine learning repository (1998): 8x8
pixels of 17 grey levels; 178 zeros and 182 ones.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from diffprog.spec import Array

SIDE = 8
"""Pixels of a side of the images as they are."""
EVERY = 4
"""Every fourth image is held out: 90 of 360. The other 270 are for training."""
SHIFT = 2
"""How many of 32 pixels an image is moved by at most, where more samples are drawn than there are images."""


@cache
def zeros_and_ones() -> tuple[Array, Array, Array, Array]:
    """Images (270, 8, 8) and labels (270,), then (90, 8, 8) and (90,), which are held out: fixed, and no image in both.

    Labels are 0.0 and 1.0, the digit itself.
    """
    from sklearn.datasets import load_digits

    found = load_digits(n_class=2)
    images, labels = np.asarray(found.images, np.float64), np.asarray(found.target, np.float64)
    held = np.arange(len(labels)) % EVERY == EVERY - 1
    return images[~held], labels[~held], images[held], labels[held]


def interpolation(side: int) -> Array:
    """(side, 8), by which 8 values become ``side``: linear between centres of pixels, constant beyond the outer two.

    Pixel j of ``side`` has its centre at (j + ½)/side, so it reads the 8 values at 8 (j + ½)/side − ½.
    """
    where = SIDE * (np.arange(side) + 0.5) / side - 0.5
    return np.stack([np.interp(where, np.arange(SIDE), row) for row in np.eye(SIDE)], axis=1)


def resized(images: Array, side: int) -> Array:
    """(B, 8, 8) as (B, side, side): sums of blocks of pixels, or linear interpolation along rows and columns."""
    if side < SIDE:
        block = SIDE // side
        return np.asarray(images.reshape(-1, side, block, side, block).sum(axis=(2, 4)))
    if side == SIDE:
        return images
    weights = interpolation(side)
    return np.asarray(weights @ images @ weights.T)


def moved(images: Array, steps: Array) -> Array:
    """Images (B, side, side) moved by ``steps`` (B, 2) pixels down and right; what comes in is black."""
    side = images.shape[-1]
    rows, columns = (np.arange(side) - steps[:, axis, None] for axis in (0, 1))
    inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
    taken = images[np.arange(len(images))[:, None, None], rows[:, :, None] % side, columns[:, None, :] % side]
    return np.where(inside, taken, 0.0)


def amplitudes(images: Array) -> Array:
    """Pixels (B, side, side) as amplitudes (B, side²) of norm 1, row after row, the first row at the first indices."""
    flat = images.reshape(len(images), -1)
    return np.asarray(flat / np.linalg.norm(flat, axis=1, keepdims=True))


def draw(samples: int, side: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Amplitudes (B, side²) and labels (B,) of images for training, none of them twice.

    Where there are fewer than ``samples``, they are drawn with replacement, and each is moved by up to SHIFT pixels
    along rows and columns.
    """
    images, labels, _, _ = zeros_and_ones()
    again = samples > len(images)
    chosen = rng.choice(len(images), samples, replace=again)
    drawn = resized(images[chosen], side)
    if again:
        drawn = moved(drawn, rng.integers(-SHIFT, SHIFT + 1, (samples, 2)))
    return amplitudes(drawn), labels[chosen]


def held_out(side: int) -> tuple[Array, Array]:
    """Amplitudes (90, side²) and labels (90,)."""
    _, _, images, labels = zeros_and_ones()
    return amplitudes(resized(images, side)), labels
