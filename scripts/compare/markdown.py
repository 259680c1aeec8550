"""Writes words from run folders into Markdown, where they stay words: no HTML, no pictures, no links, no emphasis."""

from __future__ import annotations

import re
from html import escape

_MARKS = re.compile(r"[\\`*\[\]|]|(?<![^\W_])_|_(?![^\W_])")  # within a word, as in simple_pick, _ is no mark


def literal(word: str) -> str:
    """Return a word on one line of which Markdown shows every letter."""
    return _MARKS.sub(r"\\\g<0>", escape(word, quote=False)).replace("\n", " ")
