"""Reads the YAML of a run folder, which may come from anybody.

text -> bounded size and depth, no aliases, no tags -> loaded, no endless numbers -> `${key}` names keys of its own only
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

LARGEST = 2**18  # bytes; a config has a few thousand
DEEPEST = 30  # levels; a config has 3
LONGEST_NUMBER = 1023  # bits, about 300 digits
UNREADABLE = (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)
"""What yaml raises for texts that are no YAML, and for values that are not of the type that they look like."""
_REFERENCE = re.compile(r"\$\{(\w+(?:\.\w+)*)\}")  # absolute: OmegaConf reads ${.key} from beside the value
MOST, LONGEST = 4, 4096  # references in one text, and characters of a value that is referred to
_OUTPUT = "${hydra:runtime.output_dir}"  # the folder of loggers, which no evaluation builds


def read_checked(path: Path, kind: type = dict) -> str:
    """Return the text of a YAML file that holds a `kind`, dict or list.

    Raises ValueError where loading it would not be safe, fast and small, or is not possible.
    """
    return _read(path, kind)[0]


def read_plain(path: Path, kind: type = dict) -> Any:
    """Return the content of a YAML file that holds a `kind`, dict or list. Raises ValueError as `read_checked` does."""
    return _read(path, kind)[1]


def read_overrides(run: Path) -> list[Any]:
    """Return the words that were typed for the run in a folder; none where Hydra left no file of them.

    Raises ValueError as `read_checked` does.
    """
    file = run / ".hydra" / "overrides.yaml"
    return list(read_plain(file, list)) if file.is_file() else []


def noted(content: Any, *keys: str) -> Any:
    """Return the value that the `content` of a run's hydra.yaml has under nested keys; None where it has none."""
    for key in ("hydra", *keys):
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _read(path: Path, kind: type) -> tuple[str, Any]:
    """Return text and content of a file."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is larger than the {LARGEST // 1024} KiB that a config can have")
    with reading(path):
        text = path.read_text(encoding="utf-8")
        return text, parsed(text, kind)


@contextmanager
def reading(path: Path, *others: type[Exception]) -> Iterator[None]:
    """Raise ValueError that names the file where loading its text raises one of `UNREADABLE`, or of `others`."""
    try:
        yield
    except (*UNREADABLE, *others) as error:
        raise _damaged(path, error) from error


def parsed(text: str, kind: type = dict) -> Any:
    """Return the content of a YAML text that holds a `kind`, dict or list. Raises one of `UNREADABLE` for any other."""
    _check_events(text, kind)
    content = yaml.safe_load(text)
    _check_numbers(content)
    return content


def check_references(path: Path, content: Mapping[Any, Any]) -> None:
    """Raise ValueError for an interpolation that is not of plain values of the config itself: none is resolved."""
    for value in _texts(content):
        names = _REFERENCE.findall(value)
        own = len(names) <= MOST and all(_plain(content, name) for name in names)
        if value != _OUTPUT and not (own and "${" not in _REFERENCE.sub("", value)):
            raise ValueError(f"{path} refers to {value[:80]!r}; a config refers to values of its own only: remove that")


def check_literal(key: str, path: str) -> str:
    """Return a path that goes into a config whose references have been checked. Raises ValueError for a `${` in it."""
    if "${" in path:
        raise ValueError(f"{key} would be {path[:200]!r}, and a config refers to a value by '${{'; rename that folder")
    return path


def _plain(content: Mapping[Any, Any], name: str) -> bool:
    """Return whether `name` is a short value of `content` that refers to nothing itself."""
    node: Any = content
    for key in name.split("."):
        if not isinstance(node, Mapping) or key not in node:
            return False
        node = node[key]
    return not isinstance(node, Mapping | list) and "${" not in str(node) and len(str(node)) <= LONGEST


def _damaged(path: Path, error: Exception) -> ValueError:
    """Word in one sentence why a file cannot be loaded."""
    mark = getattr(error, "problem_mark", None)
    reason = f"line {mark.line + 1}: {getattr(error, 'problem', None)}" if mark else f"{error}"
    return ValueError(f"{path} is damaged ({' '.join(reason.split())[:200]}); restore it, or name another run")


def _check_events(text: str, kind: type) -> None:
    depth, events = 0, list(islice(yaml.parse(text, yaml.SafeLoader), 3))
    if not isinstance(events[-1], yaml.events.MappingStartEvent if kind is dict else yaml.events.SequenceStartEvent):
        raise ValueError("it has no keys" if kind is dict else "it is no list")
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.events.AliasEvent):
            raise ValueError("it has aliases, which can stand for gigabytes")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise ValueError(f"it has the tag {tag[:60]}, and a config has none")
        depth += isinstance(event, yaml.events.CollectionStartEvent) - isinstance(event, yaml.events.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")


def _check_numbers(node: Any) -> None:
    """Raise ValueError for a whole number that is too long for a float, and that Python may not write out."""
    if isinstance(node, int) and node.bit_length() > LONGEST_NUMBER:
        raise ValueError("it has a number of more than 300 digits")
    if isinstance(node, Mapping | list):
        for part in [*node, *node.values()] if isinstance(node, Mapping) else node:
            _check_numbers(part)


def _texts(node: Any) -> Iterator[str]:
    """Yield all texts in nested dicts and lists."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping | list):
        for value in node.values() if isinstance(node, Mapping) else node:
            yield from _texts(value)
