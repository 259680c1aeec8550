"""Checks of Python, of the installed packages and of the bundled policy."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
import tomllib
from functools import partial

from dsrl.run.terminal.installed import IN_CLONE, ROOT
from scripts.doctor.findings import Check, Finding, State

DISTRIBUTION = "dsrl-steering"
NAMED = ("torch", "lerobot", "genesis-world", "mujoco", "tianshou", "hydra-core", "wandb")  # a line for each
OPTIONAL = ("wandb", "submitit", "hydra-submitit-launcher", "hydra-optuna-sweeper", "sqlalchemy", "alembic")
_REINSTALL = f"install the wheel of {DISTRIBUTION} again (pip install --force-reinstall, then its path)"
INSTALL = "type: uv sync (or pip install -r requirements.lock)" if IN_CLONE else _REINSTALL
PYTHON = "type: uv python install 3.12 && uv sync" if IN_CLONE else "install it with Python 3.12"
ASSETS = "type: git checkout -- dsrl/assets" if IN_CLONE else _REINSTALL
SMALLEST_WEIGHTS = 100_000  # bytes; the pointer file of Git LFS has 130


def python() -> Finding:
    """Return the version of Python, which must be 3.12."""
    found = platform.python_version()
    if sys.version_info[:2] == (3, 12):
        return Finding("ok", f"{found}, {sys.executable}")
    return Finding("FAIL", f"{found} is not 3.12", PYTHON)


def pins() -> dict[str, str]:
    """Return the pinned version of every dependency: from pyproject.toml, or from the metadata of a wheel."""
    if (ROOT / "pyproject.toml").is_file():
        lines = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    else:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    matches = [re.fullmatch(r"([\w.-]+)(?:\[[^]]*\])?==(\S+)", line) for line in lines]
    return {match[1]: match[2] for match in matches if match}


def package(name: str) -> Finding:
    """Return the installed version of a package against its pin."""
    pin = pins().get(name)
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding("note" if name in OPTIONAL else "FAIL", "is not installed", INSTALL)
    if pin is None or found.partition("+")[0] == pin:
        return Finding("ok", found)
    return Finding("note", f"{found} is installed, {pin} is tested", INSTALL)


def other_packages() -> Finding:
    """Return all other pinned packages in one finding."""
    found = {name: package(name) for name in pins() if name not in NAMED}
    wrong = {name: finding for name, finding in found.items() if finding.state != "ok"}
    if not wrong:
        return Finding("ok", f"{len(found)} as pinned in pyproject.toml")
    state: State = "FAIL" if any(finding.state == "FAIL" for finding in wrong.values()) else "note"
    return Finding(state, ", ".join(f"{name} {finding.text}" for name, finding in wrong.items()), INSTALL)


def policy() -> Finding:
    """Return the weights of the bundled policy."""
    weights = ROOT / "dsrl" / "assets" / "simple_pick" / "model.safetensors"
    if not weights.is_file():
        return Finding("FAIL", f"{weights} is missing", ASSETS)
    size = weights.stat().st_size
    if size < SMALLEST_WEIGHTS:
        return Finding("FAIL", f"{weights} has only {size} bytes", ASSETS)
    return Finding("ok", f"{weights.relative_to(ROOT)}, {size / 1e6:.1f} MB")


CHECKS = [
    Check("python", python),
    *(Check(name, partial(package, name), name not in OPTIONAL) for name in NAMED),
    Check("other packages", other_packages),
    Check("base policy", policy),
]
