"""One look for all figures: colours that colour-blind readers can tell apart, and one colour a backend everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

COLOURS = {"numpy": "#0072B2", "torch": "#D55E00", "jax": "#009E73", "julia": "#CC79A7"}
"""From the palette of Okabe and Ito."""
MARKERS = {"numpy": "o", "torch": "s", "jax": "^", "julia": "D"}
OTHER = "#555555"
ALARM = "#B00020"
WIDTH = 10.0
"""Inches: the width of every figure."""

_SETTINGS: Any = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "svg.hashsalt": "suite",
}


@contextmanager
def settings() -> Iterator[None]:
    """The fonts and lines of the suite, while a figure is drawn and saved; afterwards matplotlib is as it was."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def figure(height: float) -> Figure:
    """An empty figure of the usual width and ``height`` inches, with no tie to pyplot."""
    roomy = ConstrainedLayoutEngine(h_pad=0.1)  # inches between a label and the next title
    drawing = Figure(figsize=(WIDTH, height), layout=roomy)
    FigureCanvasAgg(drawing)
    return drawing


def colour(backend: str) -> str:
    return COLOURS.get(backend, OTHER)


def save(drawing: Figure, folder: Path, name: str) -> Path:
    """Writes ``<name>.png`` (180 dots an inch) and ``<name>.svg``; returns the path of the PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    image = BytesIO()
    drawing.savefig(image, dpi=180, facecolor="white")
    # 256 colours are plenty, and make the page a third as large; "coverage" keeps the rare ones, such as ALARM.
    few = Image.open(image).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    drawing.savefig(folder / f"{name}.svg", facecolor="white", metadata={"Date": None})
    return path
