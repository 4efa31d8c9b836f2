"""Numbers for people: three significant digits and always a unit."""

from __future__ import annotations

import math
import re
import sys

from diffprog.plain import visible

ABSENT = "\u2013"
"""Shown where there is no number."""


def _digits(number: float) -> str:
    """Three significant digits, trailing zeros kept, never an exponent."""
    return f"{number:.0f}" if abs(number) >= 999.5 else f"{number:#.3g}".rstrip(".")


def seconds(duration: float | None) -> str:
    """A duration in seconds as ``12.3 µs``, ``4.56 ms`` or ``7.89 s``."""
    if duration is None or not math.isfinite(duration):
        return ABSENT
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if duration >= 0.9995 * scale:
            return f"{_digits(duration / scale)} {unit}"
    return "0 s" if duration == 0 else f"{_digits(duration / 1e-9)} ns"


def size(count: float | None) -> str:
    """A number of bytes in MiB, or in GiB from 10 GiB on."""
    if count is None or not math.isfinite(count):
        return ABSENT
    return f"{count / 2**30:.1f} GiB" if count >= 10 * 2**30 else f"{count / 2**20:.1f} MiB"


def error(number: float | None) -> str:
    """A relative error, without unit: ``3.2e-16``, ``0`` if exactly zero, ``not finite`` if there was a NaN."""
    if number is None:
        return ABSENT
    if not math.isfinite(number) or number >= sys.float_info.max:  # which a record has for infinity
        return "not finite"
    return "0" if number == 0 else f"{number:.1e}"


def ratio(number: float | None) -> str:
    """A ratio of two durations, such as ``3.21`` and the sign of multiplication."""
    return ABSENT if number is None or not math.isfinite(number) else f"{_digits(number)}\u00d7"


def tax(number: float | None) -> str:
    """A ratio that is near one, such as ``1.004``, with three decimals."""
    return ABSENT if number is None or not math.isfinite(number) else f"{number:.3f}\u00d7"


def rate(number: float | None, unit: str) -> str:
    """A rate such as ``12.3 GB/s``: powers of ten."""
    if number is None or not math.isfinite(number):
        return ABSENT
    prefix, scale = next((p for p in (("T", 1e12), ("G", 1e9), ("M", 1e6)) if number >= p[1]), ("", 1.0))
    return f"{_digits(number / scale)} {prefix}{unit}"


def quantity(number: float | None, unit: str) -> str:
    """A quantity such as ``12.3 mJ``: powers of ten."""
    if number is None or not math.isfinite(number):
        return ABSENT
    prefixes = (("k", 1e3), ("", 1.0), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9))
    prefix, scale = next((p for p in prefixes if number >= 0.9995 * p[1]), prefixes[-1])
    return f"{_digits(number / scale)} {prefix}{unit}"


def count(number: float) -> str:
    """A whole number with its thousands apart."""
    return f"{number:,.0f}".replace(",", "\u202f")


def loss(number: float | None) -> str:
    """A loss with six digits."""
    return ABSENT if number is None else f"{number:.6g}"


def exponent(number: float | None, sizes: int) -> str:
    """A fitted exponent, without unit, and the number of sizes behind it, such as ``1.02 (3 sizes)``."""
    return ABSENT if number is None or not math.isfinite(number) else f"{number:.2f} ({sizes} sizes)"


def words(outcome: str) -> str:
    """An outcome as it is written in a sentence."""
    return outcome.replace("_", " ")


def clip(text: str, limit: int = 400) -> str:
    """At most ``limit`` characters, the middle left out: a traceback's first and last words matter most."""
    text = text.strip()
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half].rstrip()} […] {text[-half:].lstrip()}"


def markdown(text: object) -> str:
    """Plain text for one cell of a Markdown table: on one line, with nothing read as markup, HTML or TeX."""
    line = visible(" ".join(str(text).split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|#~])", r"\\\1", line).replace("$", "&#36;")
