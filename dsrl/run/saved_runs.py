"""What eval.py is asked for, and the configs that Hydra saved in the run folders it names."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from dsrl.run.folder import RunFolder

GROUPS = ("task", "policy", "noise", "sac", "logging")  # conf/<group>/ builds only from dsrl/<group>/


@dataclass
class Request:
    """What is asked about one run; None stands for what the run did."""

    run: str
    checkpoint: str
    episodes: int | None
    seed: int | None
    stochastic: bool
    best_of: int | None = None
    base: bool = False  # play the base policy in the same worlds too
    film: list[int] | None = None  # seeds of the worlds to film, instead of an evaluation


def requests(cfg: DictConfig) -> list[Request]:
    """One request per run folder that `run` names. Raises ValueError or FileNotFoundError for what cannot be asked."""
    if OmegaConf.is_missing(cfg, "run"):
        raise ValueError("run is missing; type run=<folder of a run>, for example run=outputs/2026-01-31/12-00-00")
    asked: dict[Any, Any] = dict(cfg.items())
    if isinstance(asked.get("film"), int):
        asked["film"] = [asked["film"]]
    found = []
    for folder in _folders(cfg.run):
        merged = OmegaConf.merge(OmegaConf.structured(Request), {**asked, "run": folder})
        request = OmegaConf.to_object(merged)
        assert isinstance(request, Request)
        _check(request)
        found.append(request)
    return found


def saved_config(folder: RunFolder) -> DictConfig:
    """The config that Hydra saved in a run folder."""
    if not folder.config.is_file():
        raise FileNotFoundError(f"run={folder.path} has no .hydra/config.yaml; type the folder of a run of train.py")
    saved = OmegaConf.load(folder.config)
    if not isinstance(saved, DictConfig) or any(group not in saved for group in GROUPS):
        raise ValueError(f"{folder.config} is not a config of train.py: it lacks one of {', '.join(GROUPS)}")
    return saved


def identity(cfg: DictConfig, nodes: Mapping[str, DictConfig]) -> dict[str, Any]:
    """What a run's checkpoints depend on, flat; budgets and evaluations may change where a run goes on."""
    scalars = ("seed", "num_envs", "horizon", "warmup_decisions", "batch_size", "utd", "offline_data", "offline_share")
    plain: dict[str, Any] = {group: OmegaConf.to_container(node, resolve=True) for group, node in nodes.items()}
    groups = {f"{group}.{key}": value for group, node in plain.items() for key, value in node.items()}
    return {**{name: cfg.get(name) for name in scalars}, **groups}


def going_on(cfg: DictConfig) -> dict[str, Any]:
    """What a run goes on from and leaves to go on from: `other`, `keep` and `minutes` of `Continuation`.

    Raises ValueError for numbers that cannot be, FileNotFoundError where `resume` is no run.
    """
    keep, minutes = cfg.keep_checkpoints, cfg.checkpoint_minutes
    if not isinstance(keep, int) or keep < 1:
        raise ValueError(f"keep_checkpoints={keep} keeps none to go on from; type a number of at least 1")
    if minutes is not None and (not isinstance(minutes, int | float) or minutes < 0):
        raise ValueError(f"checkpoint_minutes={minutes} is no time; type minutes, or null for none between validations")
    if cfg.resume is not None:
        saved_config(RunFolder(Path(cfg.resume)))
    return {"keep": keep, "minutes": minutes, "other": None if cfg.resume is None else Path(cfg.resume)}


def _folders(asked: Any) -> list[str]:
    """The folders of one name, a glob, or a list of either; a glob finds run folders only."""
    names = [str(name) for name in asked] if isinstance(asked, ListConfig) else str(asked).split(",")
    folders: list[str] = []
    for name in names:
        if not glob.has_magic(name):
            folders.append(name)
            continue
        runs = [match for match in sorted(glob.glob(name)) if RunFolder(Path(match)).config.is_file()]
        if not runs:
            raise FileNotFoundError(
                f"run={name} matches no folder with .hydra/config.yaml; quote it: run='multirun/…/*'"
            )
        folders += runs
    return list(dict.fromkeys(folders))


def _check(request: Request) -> None:
    if request.checkpoint not in ("best", "last", "none"):
        raise ValueError(f"checkpoint={request.checkpoint} is unknown; type best, last or none (the base policy)")
    for name in ("episodes", "best_of"):
        value = getattr(request, name)
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} is too small; type a number of at least 1")
    if request.film is not None and (not request.film or min(request.film) < 0):
        raise ValueError(f"film={request.film} names no world; type the seeds of worlds, for example film=[1000003]")
