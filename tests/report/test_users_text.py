"""Names and reasons come from users, workers and machines: on every page and figure they are text, never markup."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.ticker import LogFormatterSciNotation
from rich.console import Console

from diffprog import format
from diffprog.drawing import style
from diffprog.records.cells import Record
from diffprog.records.fits import FitJournal, FitRecord
from diffprog.report import build, ownership, terminal
from diffprog.report.bridge import page as bridge
from diffprog.report.compare import comparison
from diffprog.report.compare import views as comparison_views
from diffprog.report.compare.change import Options
from diffprog.spec import Case
from tests.report.test_bridge import write as write_prices
from tests.report.test_report import ORIGIN, QCBM, computed, record, save

HOSTILE = (
    "[/b] <script>alert(1)</script> $\\frac{$ |`a` *b* _c_ [x](http://y) ~~d~~ # &amp; &lt; :x: \x1b[31m \u202e \x00"
)
KNOWN_TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p", "section", "strong", "ul", "li",
    "div", "table", "thead", "tbody", "tr", "th", "td", "span", "i", "figure", "img", "figcaption", "dl", "dt", "dd",
    "code", "details", "summary", "pre", "em", "br", "a",
}  # fmt: skip
MARKED = ("html_block", "html_inline", "link_open", "em_open", "s_open", "code_inline", "fence", "code_block")

ANY = st.text(
    st.one_of(st.sampled_from(list("[]<>$`|*_~#&\\{}!()-+.:/\n\t @\x1b=^")), st.characters(exclude_categories=["Cs"])),
    max_size=25,
)


def parsed(markdown: str) -> list[tuple[str, str]]:
    """The kinds and contents of a page's pieces, as CommonMark with tables and strikethrough has them."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    return [(one.type, one.content) for token in tokens for one in (token, *(token.children or ()))]


@given(ANY)
def test_a_cell_of_a_markdown_table_is_one_text(text: str) -> None:
    found = parsed(f"| head | other |\n|---|---|\n| x {format.markdown(text)} x | y |\n")
    assert sum(kind == "td_open" for kind, _ in found) == 2
    assert not [kind for kind, _ in found if kind in (*MARKED, "strong_open")]
    if text.isprintable():
        told = "".join(content for kind, content in found if kind in ("text", "text_special"))
        assert " ".join(told.split()) == " ".join(f"headotherx {text} xy".split())


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def plain(folder: Path, *names: str) -> None:
    """Asserts that the pages hold the hostile text, and nothing that it would have made."""
    for name in names or ("index.html",):
        text = (folder / name).read_text(encoding="utf-8")
        tags = Tags()
        tags.feed(text)
        assert tags.tags <= KNOWN_TAGS, name
        assert not {one for one in tags.attributes if one.startswith("on")}
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    found = parsed((folder / "summary.md").read_text(encoding="utf-8"))
    assert [one for one in found if one[0] in ("html_block", "html_inline", "link_open", "em_open", "s_open")] == [
        ("html_block", f"{ownership.MARK}\n")
    ]
    assert any("<script>alert(1)</script> $\\frac{$ |`a` *b* _c_ [x](http://y) ~~d~~ #" in text for _, text in found)


def hostile(one: Record, **changes: str) -> Record:
    """A record with the hostile text wherever a worker or a machine writes one."""
    origin = msgspec.structs.replace(
        ORIGIN, cpu=HOSTILE, host=HOSTILE, platform=HOSTILE, gpu=HOSTILE, commit=HOSTILE, julia=HOSTILE,
        versions={HOSTILE: HOSTILE}, switches={HOSTILE: HOSTILE},
    )  # fmt: skip
    texts = {"reason": HOSTILE, "mend": HOSTILE, "made_with": HOSTILE, "data": HOSTILE}
    return msgspec.structs.replace(one, provenance=origin, invariants={HOSTILE: 1}, **texts | changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    records = [
        hostile(computed(QCBM), reason=""),
        hostile(computed(QCBM, "torch", device="cuda"), reason=""),
        hostile(record(QCBM, "jax", outcome="error", device="cuda")),
        hostile(record(QCBM, "julia", outcome="unavailable")),
        hostile(computed(Case("qcbm", "gaussian", "small", 0), "rust[b]$x$|", 1e-3, outcome="disagrees")),
    ]
    (folder / "environment.json").write_text(json.dumps({"cpu": HOSTILE + "\ud800"}), encoding="utf-8")
    save(folder, records)
    build.write(folder)
    return folder


def test_the_pages_of_a_run(run: Path) -> None:
    plain(run, "index.html", "gpu.html")


def test_the_terminal(run: Path) -> None:
    records = [hostile(record(QCBM, "jax", outcome="error"))]
    console = Console(width=300, file=StringIO(), record=True)
    console.print(terminal.table(records))
    assert "[/b] <script>" in console.export_text()


def test_the_page_of_a_fit(tmp_path: Path) -> None:
    origin = hostile(computed()).provenance
    fit = FitRecord(
        task="qcbm", variant="gaussian", size="tiny", seed=0, backend="numpy", method="reverse", optimiser="adam",
        steps=1, rate=0.1, outcome="error", reason=HOSTILE, mend=HOSTILE, message=HOSTILE, made_with=HOSTILE,
        provenance=origin,
    )  # fmt: skip
    FitJournal(tmp_path).append(fit)
    build.write(tmp_path)
    plain(tmp_path)


def test_the_page_of_the_bridge(tmp_path: Path) -> None:
    folder = write_prices(tmp_path / "run")
    machine = {"cpu": HOSTILE, "cores": 2, "platform": HOSTILE, "python": HOSTILE, "suite": HOSTILE, "commit": HOSTILE}
    (folder / "environment.json").write_text(json.dumps(machine), encoding="utf-8")
    bridge.write(folder)
    plain(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"cpu": null}', "\xff"])
def test_a_damaged_environment_costs_no_page(text: str, tmp_path: Path) -> None:
    folder = write_prices(tmp_path / "run")
    (folder / "environment.json").write_text(text, encoding="latin-1")
    assert bridge.write(folder).exists()


def test_a_comparison(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "<b>[x](y) | `z` *a*"
    save(other, [hostile(record(QCBM, outcome="error"))])
    text = comparison_views.markdown(comparison.compare(run, other, Options(devices=("cpu",))))
    found = parsed(text.replace("<details open>", "").replace("<sub>", ""))
    assert not [one for one in found if one[0] in ("link_open", "em_open", "s_open", "code_inline")]
    assert "<b>" not in text


@given(ANY)
def test_a_dollar_in_a_figure_is_a_dollar(text: str) -> None:
    with style.settings():
        figure = style.figure(2.0)
        axes = figure.subplots()
        labels = [axes.set_title(text), axes.set_ylabel(text), axes.text(0.1, 0.1, text), figure.suptitle(text)]
    assert not any(label.get_parse_math() for label in labels)


@pytest.mark.parametrize("text", ["$\\frac{$", "$x$", "\\$", "\x00\x1b", "水 \U0001f600", HOSTILE, "a\nb", "%s {x}"])
def test_a_figure_with_any_text_is_drawn(text: str, tmp_path: Path) -> None:
    with style.settings():
        figure = style.figure(2.0)
        axes = figure.subplots()
        axes.loglog([1, 10], [1, 1000], label=f"x{text}")
        axes.set_title(text)
        axes.set_yticks([1, 10], [text, text])
        figure.legend(loc="outside upper left")
        path = style.save(figure, tmp_path, "figure")
    assert path.stat().st_size > 1000


def test_powers_of_ten_have_raised_digits() -> None:
    assert style._Powers(LogFormatterSciNotation())(1e-13) == "10⁻¹³"
    assert style._Powers(LogFormatterSciNotation(labelOnlyBase=False, minor_thresholds=(9, 9)))(2e5) == "2×10⁵"
