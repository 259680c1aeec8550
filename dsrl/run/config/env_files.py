"""Finds what a saved config would give to an environment and must be typed again: files to open, and large numbers.

task.env_kwargs goes to the constructor of an environment: MuJoCo's open any xml_file, and take 10**9 steps for one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from dsrl.run.terminal.ranges import shown

_PATH = re.compile(r"[.~].*|.*[/\\].*|.*\.[A-Za-z]\w{0,10}", re.DOTALL)  # ./model, ~me, a/b, model.xml; no v0.5
_LARGE = 10_000  # pixels of a side, steps of an action: above, an environment takes all memory or does not end


def check_files(task: Any, given: Collection[str], source: str) -> None:
    """Raise ValueError where `task.env_kwargs` of a saved config has files or large numbers that are not given again.

    `task` is the plain group with its references resolved; `source` is run=<folder>.
    """
    found = dict(_doubtful(task.get("env_kwargs"))) if isinstance(task, Mapping) else {}
    missing = [text for text in found if text not in given]
    if missing:
        files = f"files=[{','.join(map(shown, dict.fromkeys((*given, *missing))))}]"
        raise ValueError(
            f"{source} has {missing[0][:100]!r} in task.env_kwargs, {found[missing[0]]}; if you trust it, type "
            f"{files[:300]!r}"
        )


def _doubtful(node: Any) -> Iterator[tuple[str, str]]:
    """Yield all paths and large whole numbers in nested dicts and lists, keys among them, each with its danger."""
    if isinstance(node, str) and _PATH.fullmatch(node):
        yield node, "which the environment could open as a file"
    elif isinstance(node, int) and abs(node) > _LARGE:
        yield str(node), "by which the environment could take all memory or time"
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from (*_doubtful(key), *_doubtful(value))
    elif isinstance(node, list):
        for value in node:
            yield from _doubtful(value)
