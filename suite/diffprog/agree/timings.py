"""Is one set of timings faster than another? A rank test for whether, a shift of logarithms for by how much.

Sources: Mann and Whitney, Ann. Math. Stat. 18, 50 (1947), for two runs of their own; Wilcoxon, Biometrics Bull. 1, 80
(1945), for samples taken in turn, in pairs; Hodges and Lehmann, Ann. Math. Stat. 34, 598 (1963), for the shift and its
interval; Holm, Scand. J. Stat. 6, 65 (1979), for many tests at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffprog.spec import Array

NOISE = 0.10
"""IQR / median above which a timing is flagged as noisy."""
EFFECT = 0.05
"""The least change of a time that is worth a verdict, by default."""
ALPHA = 0.05
"""The largest adjusted p of a change that is called significant, by default."""
VERDICTS = ("slower", "faster", "ambiguous", "same")
_EXACT = 60
"""Samples up to which the Mann-Whitney distribution is computed exactly; nine against nine need that."""


@dataclass(frozen=True)
class Shift:
    """How the times of B lie against those of A.

    Attributes:
        ratio: B over A: the exponential of the Hodges-Lehmann shift of the logarithms.
        low, high: its confidence interval, at 1 − α, of this cell alone.
        p: of the two-sided rank test, not adjusted.
        paired: whether the samples were taken in turn and compared pair by pair.
        noisy: whether either's samples (of pairs: their ratios) spread more than `NOISE`.
    """

    ratio: float
    low: float
    high: float
    p: float
    paired: bool
    noisy: bool


def noisy(samples: Sequence[float] | Array) -> bool:
    """Whether the quartiles are further apart than `NOISE` of the median."""
    first, median, third = np.percentile(samples, [25, 50, 75])
    return bool(third - first > NOISE * median)


def shift(a: Sequence[float], b: Sequence[float], *, paired: bool = False, alpha: float = ALPHA) -> Shift:
    """B's times against A's, both positive; of pairs, sample i of A was taken beside sample i of B.

    Raises:
        ValueError: if there are none, or pairs are not of one length.
    """
    from scipy import stats  # takes most of a second to import, and every report reads NOISE above

    if not a or not b or (paired and len(a) != len(b)):
        raise ValueError(f"{len(a)} and {len(b)} samples cannot be compared")
    x, y = np.log(a), np.log(b)
    z = float(stats.norm.ppf(1 - alpha / 2))
    if paired:
        steps = y - x
        n = steps.size
        # Walsh averages, each pair of differences once and each difference with itself.
        differences = ((steps[:, None] + steps) / 2)[np.triu_indices(n)]
        cut = n * (n + 1) / 4 - z * np.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        p = float(stats.wilcoxon(steps).pvalue) if steps.any() else 1.0
        spread = noisy(np.exp(steps))
    else:
        differences = (y[:, None] - x).ravel()
        cut = differences.size / 2 - z * np.sqrt(differences.size * (x.size + y.size + 1) / 12)
        ties = np.unique(np.concatenate([x, y])).size < x.size + y.size
        method = "asymptotic" if ties or max(x.size, y.size) > _EXACT else "exact"
        p = float(stats.mannwhitneyu(x, y, method=method).pvalue)
        spread = noisy(a) or noisy(b)
    ordered = np.sort(differences)
    at = min(max(int(np.floor(cut)), 0), (ordered.size - 1) // 2)
    low, middle, high = ordered[at], np.median(ordered), ordered[ordered.size - 1 - at]
    return Shift(float(np.exp(middle)), float(np.exp(low)), float(np.exp(high)), p, paired, spread)


def adjusted(p: Sequence[float]) -> list[float]:
    """Holm's step-down: the chance of a single false alarm among all of them stays below α."""
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    stepped = np.minimum(np.maximum.accumulate(np.asarray(p, dtype=float)[order] * factors), 1.0)
    found = np.empty(len(p))
    found[order] = stepped
    return [float(value) for value in found]


def judge(found: Shift, p: float, effect: float = EFFECT, alpha: float = ALPHA) -> tuple[str, str]:
    """The verdict on B, one of `VERDICTS`, and for ``ambiguous`` the reason. ``p`` is adjusted for the other tests.

    ``faster`` and ``slower`` are significant and larger than ``effect``; of noisy samples the whole interval must be.
    ``same`` is shown, not presumed: the whole interval lies within the effect. A ratio r and 1/r are treated alike.
    """
    band = np.log1p(effect)
    low, middle, high = np.log([found.low, found.ratio, found.high])
    large, significant = abs(middle) >= band and middle != 0, p < alpha
    beyond = low >= band or high <= -band
    if large and significant and (beyond or not found.noisy):
        return ("slower" if middle > 0 else "faster"), ""
    if found.noisy:
        return "ambiguous", "the samples are noisy"
    if low > -band and high < band:
        return "same", ""
    if significant:
        return "ambiguous", "significant, but below the least effect"
    return "ambiguous", "large, but not significant" if large else "too few samples to exclude the effect"
