"""The lock file for pip says the same as pyproject.toml, and says it in plain lines."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from dsrl.policy.lerobot import DIFFUSERS
from dsrl.task.lerobot import PACKAGES
from scripts import startup
from scripts.crash_test import __main__ as crash_test

ROOT = Path(__file__).resolve().parent.parent
LOCK = (ROOT / "requirements.lock").read_text().splitlines()


def test_a_wheel_says_that_its_code_has_types() -> None:
    package_data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "py.typed" in package_data["dsrl"]
    assert (ROOT / "dsrl" / "py.typed").is_file()


@pytest.mark.parametrize("program", [startup, crash_test])
def test_a_program_that_needs_a_clone_says_so_elsewhere(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "IN_CLONE", False)
    with pytest.raises(SystemExit):
        program.main([])
    assert capsys.readouterr().err.endswith(
        "train.py of a clone, which an installed package lacks; run it in a clone\n"
    )


def test_the_lock_is_plain_names_and_versions() -> None:
    odd = [line for line in LOCK if not re.fullmatch(r"[a-z0-9][a-z0-9-]*==[0-9][0-9a-z.]*", line)]
    assert not odd
    assert len({line.partition("==")[0] for line in LOCK}) == len(LOCK)


def test_what_messages_advise_to_install_is_what_the_extras_pin() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    advised = {**PACKAGES, "diffusion": DIFFUSERS}
    assert {name: shlex.split(text) for name, text in advised.items()} == extras


def test_every_dependency_is_locked_and_every_pin_agrees() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = dict(line.split("==") for line in LOCK)
    for dependency in [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]:
        name, _, version = dependency.partition("==")
        name = name.partition("[")[0]
        assert locked[name] == (version or locked[name]), name
