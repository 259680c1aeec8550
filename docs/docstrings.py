"""Prepares docstrings for the API pages.

a diagram or table in a docstring       -> a code block
state: Tensor  # [B, S] float32, ...    -> an attribute whose docstring is the comment
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Docstring, Extension, Object

ALIGNED = re.compile(r"\S {3,}\S|->|─►")
COMMENT = re.compile(r"  # (.+)$")


class PlainDocstrings(Extension):
    """Rewrites every docstring for Markdown, and makes docstrings of comments beside attributes."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Prepares one module, class, function or attribute."""
        if obj.is_attribute and obj.docstring is None and obj.lines:
            comment = COMMENT.search(obj.lines[0])
            if comment is not None:
                obj.docstring = Docstring(comment[1][0].upper() + comment[1][1:], parent=obj)
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
    """Escape `[B, T][n]` and `<name>` in a paragraph, outside `code`: Markdown reads links and HTML there."""
    parts = paragraph.split("`")
    parts[::2] = [text.replace("][", "]\\[").replace("<", "&lt;") for text in parts[::2]]
    return "`".join(parts)
