"""What eval.py is asked for, and the configs that Hydra saved in the run folders it names."""

from __future__ import annotations

import glob
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
    eval_episodes: int | None
    test_seed: int | None
    stochastic: bool
    best_of: int | None = None
    base: bool = False  # play the base policy in the same worlds too
    video_seeds: list[int] | None = None  # worlds of which to record videos, instead of an evaluation


def requests(cfg: DictConfig) -> list[Request]:
    """One request per run folder that `run` names. Raises ValueError or FileNotFoundError for what cannot be asked."""
    if OmegaConf.is_missing(cfg, "run"):
        raise ValueError("run is missing; type run=<folder of a run>, for example run=outputs/2026-01-31/12-00-00")
    asked: dict[Any, Any] = dict(cfg.items())
    if isinstance(asked.get("video_seeds"), int):
        asked["video_seeds"] = [asked["video_seeds"]]
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
    if not folder.any_config.is_file():
        raise FileNotFoundError(f"run={folder.path} has no .hydra/config.yaml; type the folder of a run of train.py")
    saved = OmegaConf.load(folder.any_config)
    if not isinstance(saved, DictConfig) or any(group not in saved for group in GROUPS):
        raise ValueError(f"{folder.any_config} is not a config of train.py: it lacks one of {', '.join(GROUPS)}")
    return saved


def _folders(asked: Any) -> list[str]:
    """The folders of one name, a glob, or a list of either; a glob finds run folders only."""
    names = [str(name) for name in asked] if isinstance(asked, ListConfig) else str(asked).split(",")
    folders: list[str] = []
    for name in names:
        if not glob.has_magic(name):
            folders.append(name)
            continue
        runs = [match for match in sorted(glob.glob(name)) if RunFolder(Path(match)).any_config.is_file()]
        if not runs:
            raise FileNotFoundError(
                f"run={name} matches no folder with .hydra/config.yaml; quote it: run='multirun/…/*'"
            )
        folders += runs
    return list(dict.fromkeys(folders))


def _check(request: Request) -> None:
    if request.checkpoint not in ("best", "last", "none"):
        raise ValueError(f"checkpoint={request.checkpoint} is unknown; type best, last or none (the base policy)")
    for name in ("eval_episodes", "best_of"):
        value = getattr(request, name)
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} is too small; type a number of at least 1")
    if request.video_seeds is not None and (not request.video_seeds or min(request.video_seeds) < 0):
        raise ValueError(f"video_seeds={request.video_seeds} must be seeds of worlds, such as video_seeds=[1000003]")
