"""Reads the runs and options that a command line of eval.py names."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from annotated_types import Ge, Le

from dsrl.run.config.worlds import Episodes, Seed, check_below_training
from dsrl.run.saved.config_files import config_of
from dsrl.run.saved.globs import matches
from dsrl.run.terminal import ranges

NEEDS_A_CHECKPOINT = ("stochastic", "best_of", "base")  # checkpoint=none plays the base policy alone
NOT_FOR_VIDEOS = ("eval_episodes", "test_seed", "base")  # video_seeds names its worlds, and shows the base policy too


@dataclass
class Request:
    """The evaluation of one run; None stands for the run's own value. conf/eval.yaml says what the options mean."""

    run: str
    checkpoint: Literal["returned", "best", "last", "none"]
    eval_episodes: Episodes | None
    test_seed: Seed | None
    base: bool
    video_seeds: list[Seed] | None
    stochastic: bool
    best_of: Annotated[int, Ge(1), Le(100_000)] | None
    out: str | None


def requests(options: Mapping[str, Any]) -> list[Request]:
    """Return one request per run folder that `run` names; `options` are those of conf/eval.yaml as plain values.

    Raises:
        ValueError: for values of another type or out of range, and where no run is named.
        FileNotFoundError: where a glob matches no run.
    """
    options = dict(options)
    if options.get("run", "???") == "???":
        raise ValueError("run is missing; type run=<folder of a run>, for example run=outputs/2026-01-31/12-00-00")
    _check_keys(options)
    if options["run"] is None:
        raise ValueError("run=null names no run; type run=<folder of a run>")
    if options["out"] == "???":
        raise ValueError("out=??? names no folder; type out=<folder>, or leave it out")
    if not isinstance(options["video_seeds"], list | None):
        options["video_seeds"] = [options["video_seeds"]]
    found = []
    for folder in _folders(options["run"]):
        request = Request(**{**options, "run": folder})
        for name, declared in get_type_hints(Request, include_extras=True).items():
            ranges.check(name, getattr(request, name), declared)
        if request.video_seeds == []:
            raise ValueError("video_seeds=[] names no world; type seeds of worlds, for example video_seeds=[1000003]")
        found.append(request)
    return found


def _check_keys(options: Mapping[str, Any]) -> None:
    """Raise ValueError for a key that was added to those of conf/eval.yaml, +key=…, or removed from them, ~key."""
    declared = [field.name for field in fields(Request)]
    for name in options:
        if name not in declared:
            raise ValueError(f"{name} is no option; python eval.py --help lists all")
    for name in declared:
        if name not in options:
            raise ValueError(f"{name} is missing; leave ~{name} out")


def files_of(options: Mapping[str, Any]) -> list[str]:
    """Return what `files` names, one or a list: files and large numbers, as text. Raises ValueError for the rest."""
    named = options.get("files") or []
    if not isinstance(named, str) and isinstance(named, Sequence):  # also a list of OmegaConf
        named = list(named)
    listed = [str(one) if type(one) is int else one for one in (named if isinstance(named, list) else [named])]
    ranges.check("files", listed if isinstance(named, list) else listed[0], str | list[str])
    return listed


def check_used(request: Request, typed: Mapping[str, str]) -> None:
    """Raise ValueError where an option was typed that the request does not use; `typed` maps keys to their text."""
    for name, text in typed.items():
        if request.video_seeds is not None and name in NOT_FOR_VIDEOS:
            raise ValueError(f"{text} is not used with video_seeds, which names the worlds itself; leave one out")
        if request.checkpoint == "none" and name in NEEDS_A_CHECKPOINT:
            raise ValueError(f"{text} is not used with checkpoint=none, the base policy; leave one of them out")
        if re.fullmatch(r"logging\.\w+\.folder", name):
            raise ValueError(f"{text} is not used by eval.py, which writes all into one folder; type out=<folder>")
        if request.best_of is not None and name == "stochastic" and request.stochastic:
            raise ValueError(f"{text} is not used with best_of={request.best_of}, which draws base noise; leave it out")


def check_worlds(request: Request, episodes: int, first_seed: int) -> None:
    """Raise ValueError where a request plays training worlds; `episodes` and `first_seed` are the run's own."""
    first = first_seed if request.test_seed is None else request.test_seed
    check_below_training("test_seed", range(first, first + (request.eval_episodes or episodes)))


def check_returned(request: Request, typed: Mapping[str, str], returned: Any) -> None:
    """Raise ValueError where an option for the steered policy was typed and the run `returned` its base policy."""
    for name in ("stochastic", "best_of"):
        if name in typed and getattr(request, name) and (request.checkpoint, returned) == ("returned", "base"):
            raise ValueError(
                f"{typed[name]} is not used with {request.run}, which returned its base policy; "
                "type checkpoint=best too, or leave it out"
            )


def left_out(named: Any) -> list[str]:
    """Return the folders that globs among the names match and that hold no run: jobs that never began, for example."""
    found = [match for name in _names(named) if _is_glob(name) for match in matches(name)[0]]
    return list(dict.fromkeys(one for one in found if os.path.isdir(one) and config_of(Path(one)) is None))


def leading_out(named: Any) -> list[str]:
    """Return the folders that globs among the names match by a link that leads out of their fixed part."""
    found = [match for name in _names(named) if _is_glob(name) for match in matches(name)[1]]
    return list(dict.fromkeys(found))


def _folders(named: Any) -> list[str]:
    """Return the folders of one name, a glob, or a list of either; a glob finds run folders only, and no links out."""
    if named == []:
        raise ValueError("run=[] names no run; type run=<folder of a run>, or several as run=[a,b]")
    folders: list[str] = []
    for name in _names(named):
        if not _is_glob(name):
            folders.append(name)
            continue
        inside, outside = matches(name)
        runs = [match for match in inside if config_of(Path(match)) is not None]
        if outside and not runs:
            raise FileNotFoundError(f"run={name} matches no run but links that lead elsewhere; type run={outside[0]}")
        if not runs:
            raise FileNotFoundError(
                f"run={name} matches no folder with .hydra/config.yaml; quote it: run='multirun/…/*'"
            )
        folders += runs
    return list(dict.fromkeys(folders))


def _names(named: Any) -> list[str]:
    """Return what was typed as one list; where a folder has that very name, with commas in it, it is that folder."""
    if isinstance(named, list):
        return [str(name) for name in named]
    return [str(named)] if os.path.isdir(str(named)) else str(named).split(",")


def _is_glob(name: str) -> bool:
    """Return whether a name stands for others; a folder may have brackets in its own."""
    return glob.has_magic(name) and not os.path.isdir(name)
