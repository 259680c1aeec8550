"""Reads which choices the folders of conf/ offer, which options each of them has, and what it chooses.

A choice may stand in a folder of hydra.searchpath: what takes `folders` reads it from the first that has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from dsrl.run.terminal.installed import CONF

Folders = Sequence[Traversable]


def folders_of(sources: Iterable[Mapping[str, str]]) -> Folders:
    """Return the folders of Hydra's config sources, in the order in which it searches them.

    sources: those of hydra.runtime.config_sources, each with `schema` (file, pkg or structured) and `path`.
    """
    found: list[Traversable] = []
    for one in sources:
        if one["schema"] == "file":
            found.append(Path(one["path"]))
        elif one["schema"] == "pkg":
            with suppress(ModuleNotFoundError):  # Hydra has warned, and searches on
                found.append(files(one["path"].replace("/", ".")))
    return tuple(found)


def names(group: str) -> list[str]:
    """List the choices of a group; files that begin with _ are shared by choices and are none."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml") if not path.stem.startswith("_"))


def groups() -> list[str]:
    """List the groups that a person chooses from."""
    folders = [path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"]
    return sorted(name for name in folders if names(name))


def top_level() -> set[str]:
    """Return the keys of conf/train.yaml that belong to no group."""
    return set(yaml.safe_load((CONF / "train.yaml").read_text(encoding="utf-8"))) - {"defaults", "hydra"}


def keys_of_eval() -> set[str]:
    """Return the keys of conf/eval.yaml."""
    return set(yaml.safe_load((CONF / "eval.yaml").read_text(encoding="utf-8"))) - {"defaults", "hydra"}


def options(group: str, choice: str) -> dict[str, Any]:
    """Read what stands under the key of the group in a choice and the files that it shares, unresolved."""
    content = _read(group, choice)
    found: dict[str, Any] = {}
    for base in _bases(content):
        found |= options(group, base)
    text = (CONF / group / f"{choice}.yaml").read_text(encoding="utf-8")
    own = content.get(group, {}) if "@package _global_" in text else content
    return found | {key: value for key, value in own.items() if key != "defaults"}


def with_option(group: str, option: str) -> list[str]:
    """List the choices of a group that have an option, which may lie deeper, such as wandb.mode."""
    first, _, deeper = option.partition(".")
    found = []
    for name in names(group):
        value = options(group, name).get(first, _ABSENT)
        if deeper and value is None:  # a mapping that nothing has filled yet has no options of its own
            continue
        if value is not _ABSENT and (not deeper or not isinstance(value, dict) or deeper.split(".")[0] in value):
            found.append(name)
    return found


def chosen_by(group: str, choice: str, folders: Folders = (CONF,)) -> dict[str, str]:
    """Return the choices of other groups that a choice, such as method=sac_full, makes."""
    content = _read(group, choice, folders)
    found: dict[str, str] = {}
    for base in _bases(content):
        place, _, name = base[1:].rpartition("/") if base.startswith("/") else (group, "", base)
        found |= chosen_by(place, name, folders)
    for entry in content.get("defaults", []):
        for key, value in entry.items() if isinstance(entry, dict) else ():
            chooses = key.startswith("override /") and not key.startswith("override /hydra")
            if chooses and "${" not in str(value):  # what that will be is for Hydra to say
                found[key.removeprefix("override /").partition("@")[0]] = value  # group@package
    return found


def setting(key: str, chosen: Mapping[str, Any]) -> list[str]:
    """List the choices among `chosen`, group -> choice, whose files set the option of another group, group.option."""
    return [f"{group}={choice}" for group, choice in chosen.items() if _sets(group, str(choice), *key.split(".", 1))]


def _sets(group: str, choice: str, other: str, option: str) -> bool:
    content = _read(group, choice)
    bases = (base for base in _bases(content) if not base.startswith("/"))
    return option in (content.get(other) or {}) or any(_sets(group, base, other, option) for base in bases)


_ABSENT = object()


def _bases(content: dict[str, Any]) -> list[str]:
    return [entry for entry in content.get("defaults", []) if isinstance(entry, str) and entry != "_self_"]


def _read(group: str, choice: str, folders: Folders = (CONF,)) -> dict[str, Any]:
    paths = (folder.joinpath(group, f"{choice}.yaml") for folder in folders)
    return next((_parsed(path.read_text(encoding="utf-8")) for path in paths if path.is_file()), {})


@cache
def _parsed(text: str) -> dict[str, Any]:
    return yaml.safe_load(text) or {}
