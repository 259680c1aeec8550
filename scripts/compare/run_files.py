"""Reads the YAML and JSON files of run folders, which may come from somebody else.

Sizes are bounded, YAML aliases are refused, nothing is unpickled or executed, and damage is one sentence.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from dsrl.run.files import LARGEST_SUMMARY

LARGEST_YAML = 2**18  # bytes; a config has a few thousand
LARGEST_ROWS, LARGEST_ROW = 2**28, 2**20  # bytes of metrics.jsonl and characters of its lines


class DamagedError(ValueError):
    """A file of a run folder is damaged; the message is one sentence that names it."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """YAML without aliases, which Hydra never writes and which can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are refused")
        return super().compose_node(parent, index)


def read_yaml[T](path: Path, kind: type[T]) -> T | None:
    """Return the content of a YAML file; None without a file. Raises DamagedError for content that is not of `kind`."""
    text = _text(path, LARGEST_YAML)
    if text is None:
        return None
    content = _parsed(path, lambda: yaml.load(text, _Loader))  # a SafeLoader
    return _checked(path, content, kind)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty without a file. Raises DamagedError for other content."""
    text = _text(path, LARGEST_SUMMARY)
    return {} if text is None else _checked(path, _parsed(path, lambda: json.loads(text)), dict)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects in a file of JSON lines, without an incomplete last line, which a kill leaves.

    Raises DamagedError for any other line that is no JSON object.
    """
    if not _is_there(path, LARGEST_ROWS):
        return
    number = 0
    with path.open(errors="replace", encoding="utf-8") as file:
        while line := file.readline(LARGEST_ROW + 1):
            number += 1
            if len(line) > LARGEST_ROW:
                raise DamagedError(f"{path} is damaged in line {number}: it is longer than {LARGEST_ROW} characters")
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                if not file.read(1):
                    return
                raise DamagedError(f"{path} is damaged in line {number}") from None
            if not isinstance(row, dict):
                raise DamagedError(f"{path} is damaged in line {number}")
            yield row


def is_finite(value: Any) -> bool:
    """Return whether `value` is a finite number that a float holds."""
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return False
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def printable(text: str, length: int = 300) -> str:
    """Return the text on one line, without control characters and lone surrogates, cut after `length` characters."""
    clean = text.encode("utf-8", "replace").decode()
    clean = " ".join("".join(letter if letter.isprintable() else " " for letter in clean).split())
    return clean if len(clean) <= length else f"{clean[:length]}…"


def _text(path: Path, largest: int) -> str | None:
    """Return the text of a file; None without one."""
    return path.read_text(errors="replace", encoding="utf-8") if _is_there(path, largest) else None


def _is_there(path: Path, largest: int) -> bool:
    """Return whether there is a file. Raises DamagedError for one that is too large or cannot be read."""
    try:
        if not path.exists():
            return False
        if not path.is_file():
            raise DamagedError(f"{path} is damaged: it is no file")
        if path.stat().st_size > largest:
            raise DamagedError(f"{path} is damaged: it is larger than {largest} bytes")
        with path.open("rb"):
            return True
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror}") from error


def _parsed(path: Path, parse: Callable[[], Any]) -> Any:
    try:
        return parse()
    except RecursionError:
        raise DamagedError(f"{path} is damaged: it is nested too deeply") from None
    except (ValueError, yaml.YAMLError, TypeError) as error:  # TypeError: an unhashable key
        raise DamagedError(f"{path} is damaged: {printable(str(error), 120)}") from error


def _checked[T](path: Path, content: Any, kind: type[T]) -> T:
    if not isinstance(content, kind):
        raise DamagedError(f"{path} is damaged: it has a {type(content).__name__}, not a {kind.__name__}")
    return content
