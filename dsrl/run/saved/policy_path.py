"""Finds the policy of a saved run from any working directory: a relative policy.path starts where train.py was typed.

The config keeps the path as it was typed, so that runs of one policy on two machines are still runs of one method.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from dsrl.run.saved.plain_yaml import check_literal, noted, read_plain
from dsrl.run.terminal.installed import bundled


def find_policy(node: Any, notes: Path) -> None:
    """Make the `path` in the config `node` of a run's policy absolute where it was a local one and is still there.

    `notes` is the run's hydra.yaml, which says where train.py was typed. Raises ValueError for a folder with `${`.
    """
    path = node.get("path")
    if not isinstance(path, str):
        return
    if bundled(path):  # it wins over a folder of that name
        return
    there = _working_directory(notes) / path
    if there.is_absolute() and os.path.exists(there):  # not in a folder that is private to somebody else
        node.path = check_literal("policy.path", str(there))


def _working_directory(notes: Path) -> Path:
    """Return the directory in which a run was typed; the present one where the file is missing or damaged."""
    found: Any = None
    with suppress(OSError, ValueError):
        found = read_plain(notes)
    typed_in = noted(found, "runtime", "cwd")
    return Path(typed_in) if isinstance(typed_in, str) else Path()
