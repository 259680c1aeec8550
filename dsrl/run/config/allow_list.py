"""Lets a config build components of ours and of typed plugins only, with options that they take and values in range."""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Mapping
from typing import Any

from dsrl.run.config import signatures
from dsrl.run.terminal import ranges

_TARGET = re.compile(r"(?P<package>[A-Za-z]\w*)\.(?P<group>\w+)\.(?P<module>[a-z]\w*)\.(?P<name>[A-Za-z]\w*)")
LIVE = {  # arguments that no YAML can hold: dsrl.run.components.build gives them to those that take them
    "task": {"announce"},
    "policy": {"task"},
    "noise": {"noise_shape", "executed"},
    "logging": {"described"},
    "sac": {"observation_space", "action_space", "decoder", "chunk_shape", "action_bounds"},
}
_OPEN = "???"  # how a YAML leaves a value open


class UnknownOptionError(ValueError):
    """A component does not take the option `key`."""

    def __init__(self, key: str, takes: str) -> None:
        super().__init__(f"{key} is no option; {takes}")
        self.key, self.takes = key, takes


def component(target: str) -> Any:
    """Import the class or function that <package>.<group>.<module>.<name> names; `check_targets` comes first."""
    module, _, name = target.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    if found.__module__ != module:
        raise ValueError(f"_target_ {target!r} is not defined in that module; name the component itself")
    return found


def check_targets(
    node: Any,
    where: str,
    group: str,
    typed: Mapping[str, str] | None = None,
    plugins: Collection[str] = (),
) -> None:
    """Check the components in a plain node, their options and the values of these; imports none of them.

    A config may come from a run folder that somebody sent, and Hydra would call anything it names. A target is
    <package>.<group>.<module>.<name>, public, and defined in that very module; the package is dsrl or one of `plugins`.
    `typed` gives the key under which a person types the value of another, such as gamma for sac.gamma.

    Raises:
        ValueError: for any other target, for keys that the target does not take, for values left open, and for
            values of another type or out of range.
    """
    if isinstance(node, dict):
        for key, value in node.items():
            check_targets(value, f"{where}.{key}", group, typed, plugins)
        if "_target_" in node:
            _check_call(node, where, group, typed or {}, plugins)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            check_targets(value, f"{where}[{i}]", group, typed, plugins)
    elif node == _OPEN:
        raise ValueError(f"{where} has no default; type {where}=…")
    elif isinstance(node, str) and "${" in node:  # escaped once: it would turn into another value after this check
        raise ValueError(f"{where} is {node!r}; write the value itself")


def _check_call(
    content: dict[str, Any], where: str, group: str, typed: Mapping[str, str], plugins: Collection[str]
) -> None:
    """Check one `_target_` with its options."""
    target = content["_target_"]
    match = _TARGET.fullmatch(target) if isinstance(target, str) else None
    if match is None or match["group"] != group or match["package"] not in ("dsrl", *plugins):
        raise ValueError(
            f"{where}._target_ is {target!r}; a config may build dsrl.{group}.<module>.<name> only, or, with "
            f"plugins=[my_package], my_package.{group}.<module>.<name>"
        )
    try:
        declared = signatures.options(target)
    except LookupError as error:
        there = f"name a component of {match['package']}"
        raise ValueError(f"{where}._target_ {target!r} is not there ({error}); {there}") from error
    known = {name: one for name, one in declared.items() if name not in LIVE.get(group, set())}
    unknown = [key for key in content if not key.startswith("_") and key not in known]
    extra = [key for key in content if key.startswith("_") and key not in ("_target_", "_partial_", "_convert_")]
    if unknown or extra:
        takes = f"{target} takes {', '.join(known)}" if known else f"{target} takes none"
        passing = signatures.passing_on(target) if unknown else None
        if passing is not None:
            takes += f", and *args and **kwargs are not read: write the arguments of its base out in {passing}"
        raise UnknownOptionError(f"{where}.{(unknown + extra)[0]}", takes)
    missing = [name for name, one in known.items() if one.required and name not in content]
    if missing:
        raise ValueError(f"{where}.{missing[0]} is missing and {target} needs it; type {where}.{missing[0]}=…")
    for name, one in known.items():
        if name in content:
            key = f"{where}.{name}"
            ranges.check(typed.get(key, key), content[name], one.type())
