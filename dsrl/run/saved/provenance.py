"""Provenance of a run, written when it starts: code, Python, machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib.metadata import version
from typing import Any

import dsrl
from dsrl.run.terminal.installed import IN_CLONE, ROOT

SUBMITTED = "submitted.json"  # in a copy of the code that was made for submitted jobs: the git state it was made from
LISTED = 20  # changed files that are named
PACKAGES = ("torch", "tianshou", "lerobot", "genesis-world", "hydra-core", "gymnasium", "numpy")


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that a result depends on."""
    return {"dsrl": dsrl.__version__, **{name: version(name) for name in PACKAGES}}


def environment() -> dict[str, Any]:
    """Return code, Python and machine as plain values; `git_commit` and `git_changed` are None outside a work tree."""
    import torch  # seconds to import

    return {
        **git_state(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def git_state() -> dict[str, Any]:
    """Return commit and changed files of the code that runs; those of its original in a copy for submitted jobs."""
    submitted = ROOT / SUBMITTED
    if submitted.is_file():
        original: dict[str, Any] = json.loads(submitted.read_text(encoding="utf-8"))
        return original
    changed = git("status", "--porcelain", "--untracked-files=no")
    names = None if changed is None else [line[2:].strip() for line in changed.splitlines()][:LISTED]
    return {"git_commit": git("rev-parse", "HEAD"), "git_changed": names}


def git(*arguments: str) -> str | None:
    """Return the output of git in the folder of this code; None without git or outside a clone."""
    if not IN_CLONE:  # an installed package may lie in somebody else's work tree
        return None
    try:
        # git refuses the clone of another user, whose settings may name programs; this process runs its code anyway
        command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip("\n")
