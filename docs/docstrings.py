"""Prepares docstrings for the API pages: a paragraph that is a diagram or a table becomes a code block."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

ALIGNED = re.compile(r"\S {3,}\S|->|─►")


class PlainDiagrams(Extension):
    """Indents paragraphs that are laid out with spaces or arrows, so that Markdown leaves them as they are."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrites the docstring of one module, class, function or attribute."""
        if obj.docstring is not None:
            first, *others = re.split(r"\n{2,}", obj.docstring.value)
            obj.docstring.value = "\n\n".join([_escaped(first), *map(_laid_out, others)])


def _laid_out(paragraph: str) -> str:
    lines = paragraph.splitlines()
    if paragraph.startswith("    ") or re.match(r"(Args|Returns|Raises):", paragraph):
        return paragraph
    if any(ALIGNED.search(line) for line in lines):
        return "\n".join(f"    {line}" for line in lines)
    return _escaped(paragraph)


def _escaped(paragraph: str) -> str:
    """The paragraph with shapes such as `[B, T][n]` escaped: Markdown would read them as a link."""
    return paragraph.replace("][", "]\\[")
