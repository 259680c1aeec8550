"""Checks what was typed for task and policy, where these check it, before a simulator or weights are loaded."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from dsrl.run.components.parts import ChecksPath, ChecksPaths, ChecksTyped
from dsrl.run.config.allow_list import component


def check_before_building(task: Mapping[str, Any], policy: Mapping[str, Any]) -> None:
    """Check the nodes of task and policy, the task first: the path of its policy may follow from its name.

    Raises FileNotFoundError or ValueError.
    """
    chosen = component(task["_target_"])
    if isinstance(chosen, ChecksTyped):
        chosen.check_typed(task, policy.get("path"))
    if "path" in policy:
        _check_path(policy["_target_"], policy["path"])


def _check_path(target: str, path: str) -> None:
    """Raise FileNotFoundError or ValueError for a wrong `policy.path`, where the policy or its package checks that."""
    package = importlib.import_module(target.rsplit(".", 2)[0])
    if isinstance(package, ChecksPaths) and package.check_path(target, path):
        return
    loader = component(target)
    if isinstance(loader, ChecksPath):
        loader.check_path(path)
