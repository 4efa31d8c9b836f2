"""Text of users and workers as it is shown: nothing of it acts on a terminal or a page."""

from __future__ import annotations

import unicodedata


def visible(text: str) -> str:
    """``text`` with what acts on a terminal, or cannot be written, spelt out: escapes, bidirectional marks, lone bytes.

    Line ends and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(char if char in "\n\t" or not _acts(char) else escape(char) for char in text)


def on_one_line(text: object) -> str:
    """`visible`, line ends and tabs too."""
    return visible(str(text)).replace("\n", "\\n").replace("\t", "\\t")


def _acts(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def escape(char: str) -> str:
    """A character spelt in ASCII, as Python does it."""
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
