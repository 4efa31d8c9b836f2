"""How a comparison is shown: in a terminal, in a notebook, and what `import diffprog` costs."""

from __future__ import annotations

import html.parser
import pickle
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import diffprog
from diffprog import GradientCheck, GradientMismatch
from diffprog.gradients.rows import Row
from diffprog.records.cells import Agreement, Errors

YARDSTICK = Agreement(reference="itself", value=0.0, gradient=Errors(relative_l2=0.0, max_rho=0.0, cosine=1.0, worst=0),
                      tolerance=1e-10, finite_differences=2e-13, finite_differences_tolerance=1e-9)  # fmt: skip
OFF = Agreement(
    reference="numpy", value=0.0, gradient=Errors(relative_l2=3.2e-1, max_rho=0.1, cosine=0.5, worst=0), tolerance=1e-10
)
GOOD = Row("torch", "gradient", "eager", "ok", value=1.0, derivative={"W": np.ones(2)}, agreement=YARDSTICK)
BAD = Row("jax", "gradient", "reverse", "disagrees", "the gradient is off", value=1.0, derivative={"W": np.ones(2)},
          errors={"W": 1e-16, "b": 2.0}, agreement=OFF)  # fmt: skip
SHAPES = {"W": (2,), "b": ()}


def test_the_text_is_one_line_a_table_and_reasons() -> None:
    text = str(GradientCheck((GOOD, BAD), "float64", SHAPES))
    assert text.splitlines() == [
        "disagrees: jax (gradient of 2 parameters, float64)",
        "",
        "backend  engine   outcome    error      of allowed  finite differences         worst parameter",
        "-------  -------  ---------  ---------  ----------  -------------------------  ---------------",
        "torch    eager    ok         yardstick              2.0e-13 (at most 1.0e-09)",
        "jax      reverse  disagrees  3.2e-01    3.2e+09                                b by 2.0e+00",
        "",
        "jax: disagrees: the gradient is off",
    ]
    assert text.isascii()


def test_what_is_good_says_with_whom() -> None:
    both = GradientCheck((GOOD, replace(GOOD, backend="jax")), "float64", SHAPES)
    assert str(both).startswith("ok: torch and jax agree: gradient of 2 parameters, float64\n")
    alone = GradientCheck((GOOD,), "float64", {"W": (2,)})
    assert str(alone).startswith("ok: torch agrees with finite differences: gradient of the parameter W, float64\n")


def test_what_is_not_there_is_not_ok_unless_it_may_be() -> None:
    gone = Row("julia", "gradient", "zygote", "unavailable", "there is no julia", mend="diffprog setup-julia")
    result = GradientCheck((GOOD, gone), "float64", SHAPES)
    assert not result.ok
    assert "julia: unavailable: there is no julia; to mend this: diffprog setup-julia" in str(result)
    assert GradientCheck((GOOD, replace(gone, optional=True)), "float64", SHAPES).ok
    assert not GradientCheck((GOOD, replace(gone, outcome="error", optional=True)), "float64", SHAPES).ok


class _Reader(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.styles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.styles += [value or "" for name, value in attrs if name == "style"]
        assert {name for name, _ in attrs} <= {"style"}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_in_a_notebook_it_is_a_table_with_nobody_s_markup() -> None:
    evil = replace(BAD, reason='<script>alert("&")</script>\x1b[31m', errors={"<b>": 2.0})
    found = GradientCheck((GOOD, evil), "float64", SHAPES, notes=("<i>note</i>",))._repr_html_()
    reader = _Reader()
    reader.feed(found)
    assert set(reader.tags) == {"div", "strong", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    told = " ".join(reader.texts)
    assert '<script>alert("&")</script>' in told
    assert "\x1b" not in found
    assert "<b> by 2.0e+00" in told
    assert "✗ disagrees: jax" in told


def test_in_a_notebook_it_is_readable_on_dark_and_on_light() -> None:
    reader = _Reader()
    reader.feed(GradientCheck((GOOD, BAD), "float64", SHAPES)._repr_html_())
    for style in reader.styles:
        for part in style.split(";"):
            name, _, value = part.partition(":")
            if name in ("color", "background"):
                assert value in ("inherit", "transparent")
            if name.startswith("border-") and "solid" in value:
                assert "currentColor" in value


def test_the_mismatch_can_be_sent_to_another_process() -> None:
    error = GradientMismatch(GradientCheck((GOOD, BAD), "float64", SHAPES))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert not again.result.ok


def test_the_package_has_what_it_says_and_no_more() -> None:
    assert set(diffprog.__all__) <= set(dir(diffprog))
    for name in set(diffprog.__all__) - {"__version__"}:
        assert getattr(diffprog, name).__name__ == name
    missing: Any = diffprog
    with pytest.raises(AttributeError, match="module 'diffprog' has no attribute 'check_gradient'"):
        missing.check_gradient  # noqa: B018


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import diffprog; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    others = {name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}
    assert others == {"diffprog", "diffprog.version"}


@pytest.mark.parametrize("names", ["check_gradients", "torch_op, jax_op, JuliaFunction, GradientMismatch, UsageError"])
def test_using_its_names_imports_no_framework(names: str) -> None:
    code = f"from diffprog import {names}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "jax", "juliacall", "matplotlib", "pandas"} & set(done.stdout.split())
