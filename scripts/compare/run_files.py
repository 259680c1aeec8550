"""Reads the YAML and JSON files of run folders, which may come from somebody else.

Sizes, depths and numbers are bounded, nothing is unpickled or executed, and damage is one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dsrl.foreign_json import check_depth
from dsrl.run.saved.files import LARGEST_SUMMARY
from dsrl.run.saved.plain_yaml import LARGEST, UNREADABLE, parsed
from dsrl.run.terminal.printable import printable

HIGHEST = 1e15  # a score, a number of steps or seconds; the pictures' axes end before the largest float
LARGEST_ROWS, LARGEST_ROW = 2**28, 2**20  # bytes of metrics.jsonl and characters of its lines


class DamagedError(ValueError):
    """A file of a run folder is damaged; the message is one sentence that names it."""


def read_yaml[T: (dict[Any, Any], list[Any])](path: Path, kind: type[T]) -> T | None:
    """Return the content of a YAML file; None without a file. Raises DamagedError for content that is not of `kind`."""
    text = _text(path, LARGEST)
    if text is None:
        return None
    return _checked(path, _parsed(path, lambda: parsed(text, kind)), kind)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty without a file. Raises DamagedError for other content."""
    text = _text(path, LARGEST_SUMMARY)
    return {} if text is None else _checked(path, _parsed(path, lambda: _json(text)), dict)


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
                row = _json(line)
            except (ValueError, RecursionError):
                if not file.read(1):
                    return
                raise DamagedError(f"{path} is damaged in line {number}") from None
            if not isinstance(row, dict):
                raise DamagedError(f"{path} is damaged in line {number}")
            yield row


def is_number(value: Any) -> bool:
    """Return whether `value` is a finite number of a size that plots and tests take."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -HIGHEST <= value <= HIGHEST


def one_line(text: str, length: int = 300) -> str:
    """Return the text on one line, without control characters and lone surrogates, cut after `length` characters."""
    clean = " ".join(printable(text).split())
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


def _json(text: str) -> Any:
    """Return the value of a JSON text. Raises RecursionError for one that is nested deeply, else ValueError."""
    value = json.loads(text)
    check_depth(value)
    return value


def _parsed(path: Path, parse: Callable[[], Any]) -> Any:
    try:
        return parse()
    except RecursionError:
        raise DamagedError(f"{path} is damaged: it is nested too deeply") from None
    except UNREADABLE as error:
        raise DamagedError(f"{path} is damaged: {one_line(str(error), 120)}") from error


def _checked[T](path: Path, content: Any, kind: type[T]) -> T:
    if not isinstance(content, kind):
        raise DamagedError(f"{path} is damaged: it has a {type(content).__name__}, not a {kind.__name__}")
    return content
