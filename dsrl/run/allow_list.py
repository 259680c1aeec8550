"""What a config may build: components of ours, of the right group, with the arguments that they take and need."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

_TARGET = re.compile(r"dsrl\.(?P<group>\w+)\.(?P<module>[a-z]\w*)\.(?P<name>[A-Za-z]\w*)")
_LIVE = {  # arguments that no YAML can hold: dsrl.run.build gives them to those that take them
    "task": {"announce"},
    "policy": {"task"},
    "noise": {"noise_shape"},
    "sac": {"observation_space", "action_space", "decoder", "chunk_shape"},
}
_OPEN = "???"  # how a YAML leaves a value open


def component(target: str) -> Any:
    """The class or function that dsrl.<group>.<module>.<name> names; to be checked by `check_targets` first."""
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def check_targets(node: Any, where: str, group: str) -> None:
    """Let a config build our own components only, and only with arguments that they take.

    A config may come from a run folder that somebody sent, and Hydra would call anything it names. A target is
    dsrl.<group>.<module>.<name>, public, and defined in that very module.

    Raises:
        ValueError: for any other target, for keys that the target does not take, and for values left open.
    """
    if isinstance(node, dict):
        if "_target_" in node:
            _check_call(node, where, group)
        for key, value in node.items():
            check_targets(value, f"{where}.{key}", group)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            check_targets(value, f"{where}[{i}]", group)
    elif node == _OPEN:
        raise ValueError(f"{where} has no default; type {where}=…")
    elif isinstance(node, str) and "${" in node:  # escaped once: it would turn into another value after this check
        raise ValueError(f"{where} is {node!r}; write the value itself")


def _check_call(content: dict[str, Any], where: str, group: str) -> None:
    """One `_target_` with its arguments."""
    target = content["_target_"]
    match = _TARGET.fullmatch(target) if isinstance(target, str) else None
    if match is None or match["group"] != group:
        raise ValueError(f"{where}._target_ is {target!r}; a config may build dsrl.{group}.<module>.<name> only")
    try:
        found = component(target)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"{where}._target_ {target!r} is not there ({error}); name a component of dsrl") from error
    if getattr(found, "__module__", None) != target.rpartition(".")[0] or not callable(found):
        raise ValueError(f"{where}._target_ {target!r} is not defined in that module; name the component itself")
    live = _LIVE.get(group, set())
    known = {name: one for name, one in inspect.signature(found).parameters.items() if name not in live}
    unknown = [key for key in content if not key.startswith("_") and key not in known]
    extra = [key for key in content if key.startswith("_") and key not in ("_target_", "_partial_", "_convert_")]
    if unknown or extra:
        raise ValueError(f"{where}.{(unknown + extra)[0]} is no option; {target} takes {', '.join(known)}")
    missing = [name for name, one in known.items() if one.default is one.empty and name not in content]
    if missing:
        raise ValueError(f"{where}.{missing[0]} is missing and {target} needs it; type {where}.{missing[0]}=…")
