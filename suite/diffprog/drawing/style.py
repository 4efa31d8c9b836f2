"""One look for all figures: colours that colour-blind readers can tell apart, and one colour a backend everywhere."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import Formatter, LogFormatter
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
    "font.family": ["DejaVu Sans"],  # matplotlib brings it: no other font of the machine is asked
    "text.parse_math": False,  # a $ in a name is a dollar
}
_NOT_OURS = ("backend",)
"""Settings that say how windows are opened, and none is."""


@contextmanager
def settings() -> Iterator[None]:
    """The fonts and lines of the suite, while a figure is drawn and saved; afterwards matplotlib is as it was.

    All other settings are matplotlib's defaults, whatever the user's are.
    """
    default = {name: value for name, value in matplotlib.rcParamsDefault.items() if name not in _NOT_OURS}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # a name may have any letters
        with matplotlib.rc_context(default | _SETTINGS):
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
    for axes in drawing.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(_without_math(axis.get_major_formatter()))
            axis.set_minor_formatter(_without_math(axis.get_minor_formatter()))
    with settings():
        drawing.savefig(image, format="png", dpi=180, facecolor="white")
    # 256 colours are plenty, and make the page a third as large; "coverage" keeps the rare ones, such as ALARM.
    few = Image.open(image).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    with settings():
        drawing.savefig(folder / f"{name}.svg", format="svg", facecolor="white", metadata={"Date": None})
    return path


class _Powers(Formatter):
    r"""The labels of a logarithmic axis with raised digits instead of TeX: ``10⁻³`` of ``$\mathdefault{10^{-3}}$``."""

    _RAISED = str.maketrans("0123456789-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")

    def __init__(self, inner: Formatter) -> None:
        self._inner = inner

    def __call__(self, x: float, pos: int | None = None) -> str:
        text = re.sub(r"\^\{([^}]*)\}", lambda found: found[1].translate(self._RAISED), self._inner(x, pos))
        return re.sub(r"\$|\\mathdefault|[{}]", "", text).replace(r"\times", "×")

    def set_axis(self, axis: Any) -> None:
        self._inner.set_axis(axis)
        super().set_axis(axis)

    def set_locs(self, locs: list[float]) -> None:
        self._inner.set_locs(locs)
        super().set_locs(locs)


def _without_math(formatter: Formatter) -> Formatter:
    return _Powers(formatter) if isinstance(formatter, LogFormatter) else formatter
