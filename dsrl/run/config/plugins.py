"""Reads which packages besides dsrl a config may build from: `plugins=[my_package]`, typed with every command.

Code runs when it is imported, so that a config which somebody sent cannot name the packages itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

_NAME = re.compile(r"[A-Za-z]\w*")


def plugins_of(config: Mapping[str, Any]) -> list[str]:
    """Return the packages that a config names, none for one of earlier runs; imports none of them.

    Raises ValueError for what is no list of installed packages.
    """
    named = config.get("plugins")
    if not named:
        return []
    if isinstance(named, str) or not isinstance(named, Sequence):  # a ListConfig is one
        raise ValueError(f"plugins={named} must be a list; type plugins=[{named}]")
    for name in named:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"plugins={_listed(named)} must be names of packages, such as plugins=[my_package]")
        if find_spec(name) is None:
            raise ValueError(f"plugins={_listed(named)}: {name} is not installed; uv pip install it, or leave it out")
    return [str(name) for name in named]


def check_typed_plugins(config: Mapping[str, Any], typed: Collection[str]) -> None:
    """Raise ValueError where a file names plugins, which only the command line may do."""
    named = plugins_of(config)
    if named and "plugins" not in typed:
        raise ValueError(f"plugins={_listed(named)} stands in a file; type it on the command line, or remove it there")


def check_again(saved: Mapping[str, Any], given: Collection[str], source: str) -> None:
    """Raise ValueError where a saved config was made with plugins that are not given again; `source` names its run."""
    named = saved.get("plugins")
    named = [named] if isinstance(named, str) else named
    missing = [str(name) for name in named if name not in given] if isinstance(named, Sequence) else []
    if missing:
        shown = ",".join(missing)[:100]
        raise ValueError(
            f"{source} was made with plugins=[{shown}], whose code would run; if you trust it, type plugins=[{shown}]"
        )


def _listed(names: Sequence[Any]) -> str:
    return f"[{','.join(map(str, names))}]"
