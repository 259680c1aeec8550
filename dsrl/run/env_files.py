"""Finds the files that a saved config would let an environment open: they have to be typed again.

task.env_kwargs goes to the constructor of an environment, and MuJoCo's open any xml_file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from dsrl.run.ranges import shown

_PATH = re.compile(r"[.~].*|.*[/\\].*|.*\.[A-Za-z]\w{0,10}", re.DOTALL)  # ./model, ~me, a/b, model.xml; no v0.5


def check_files(task: Any, given: Collection[str], source: str) -> None:
    """Raise ValueError where `task.env_kwargs` of a saved config names files that are not given again.

    `task` is the plain group with its references resolved; `source` is run=<folder>.
    """
    named = _texts(task.get("env_kwargs")) if isinstance(task, Mapping) else ()
    missing = [text for text in named if _PATH.fullmatch(text) and text not in given]
    if missing:
        files = f"files=[{','.join(map(shown, dict.fromkeys((*given, *missing))))}]"
        raise ValueError(
            f"{source} has {missing[0][:100]!r} in task.env_kwargs, which the environment could open as a file; if you "
            f"trust it, type {files[:300]!r}"
        )


def _texts(node: Any) -> Iterator[str]:
    """Yield all texts in nested dicts and lists, keys among them."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from (*_texts(key), *_texts(value))
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)
