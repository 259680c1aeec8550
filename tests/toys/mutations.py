"""Changes one value anywhere in nested lists and mappings, as somebody who sends a file might."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

_DELETED = object()
_DEEP: Any = [[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]
_TEXTS = ("", "planted.Step", "planted", "../secret", "/etc/hosts", "owner/name", "cuda:99", "a\nb\x1b[31m", "${seed}")
_NUMBERS = (-1, 0, 1, 2, 16, 100, 1024, 4096, 10**9, 10**30, 10**400, 0.5, 1e308, math.nan)
_VALUES = (*_TEXTS, *_NUMBERS, None, True, [], {}, [1], _DEEP, _DELETED)


def changed(content: Any, keys: Mapping[str, Any], draw: random.Random) -> tuple[Any, str]:
    """Return the content with one value replaced or deleted, or one of `keys` added, and what was done."""
    path, value = draw.choice(list(_paths(content))), draw.choice(_VALUES)
    holder: Any = content
    for key in path[:-1]:
        holder = holder[key]
    inner = holder[path[-1]] if path else holder
    if isinstance(inner, dict) and draw.random() < 0.5:
        key = draw.choice(list(keys))
        inner[key] = keys[key]
        return content, f"{path} with {key}"
    if not path:
        return (None if value is _DELETED else value), f"all is {value!r}"
    if value is _DELETED:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return content, f"{path} is {'deleted' if value is _DELETED else repr(value)[:40]}"


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key in value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0):
        yield from _paths(value[key], (*path, key))
