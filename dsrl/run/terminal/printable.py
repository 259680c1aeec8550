"""Replaces what drives a terminal or cannot be written in text that may come from somebody's files."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return the text with a blank for each control character, direction mark, line break and lone surrogate."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
