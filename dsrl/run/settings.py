"""The scalars of conf/train.yaml that belong to no group, typed, and what of them cannot go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dsrl.noise_action_env import FIRST_DRAWN_SEED
from dsrl.run.folder import RunFolder

MAY_BE_0 = ("seed", "test_seed", "validation_seed", "video_episodes", "warmup_decisions", "offline_updates")


@dataclass
class Settings:
    """The values of conf/train.yaml that belong to no group; that file says what each of them means."""

    seed: int
    num_envs: int
    horizon: int | None
    threads: int | None
    decisions: int
    warmup_decisions: int
    batch_size: int
    buffer_size: int
    utd: float
    eval_episodes: int
    test_seed: int
    eval_every: int
    validation_episodes: int
    validation_seed: int
    video_episodes: int
    plot: bool = True
    stop_on_collapse: bool = False  # configs of earlier runs lack it, as what follows
    best_of: int | None = None
    offline_data: str | None = None
    offline_updates: int = 0
    offline_share: float | None = None


def settings_of(cfg: DictConfig) -> Settings:
    """The scalars, with their types checked."""
    missing = [field.name for field in fields(Settings) if field.name not in cfg and field.default is MISSING]
    if missing:
        raise ValueError(f"the config lacks {missing[0]}; conf/train.yaml says what it means")
    names = [field.name for field in fields(Settings) if field.name in cfg]
    scalars = {name: cfg[name] for name in names}
    settings = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Settings), scalars))
    assert isinstance(settings, Settings)
    offline = settings.offline_data is not None and settings.offline_updates > 0
    for name in names:
        value = getattr(settings, name)
        low = 0 if name in MAY_BE_0 or (name == "decisions" and offline) else 1
        numeric = isinstance(value, int | float) and not isinstance(value, bool) and name != "offline_share"
        if numeric and value < low and (name != "utd" or value <= 0):
            raise ValueError(f"{name}={value} is too small; type a number of at least {low}")
    if settings.warmup_decisions >= settings.decisions + offline:
        raise ValueError(
            f"warmup_decisions={settings.warmup_decisions} leaves nothing of decisions={settings.decisions}; "
            "type a larger decisions or a smaller warmup_decisions"
        )
    _check_offline(settings)
    _check_worlds(settings)
    return settings


def identity(cfg: DictConfig, nodes: Mapping[str, DictConfig]) -> dict[str, Any]:
    """Return the values that a run's checkpoints depend on, flat; budgets and evaluations may change on resume."""
    scalars = ("seed", "num_envs", "horizon", "warmup_decisions", "batch_size", "utd", "offline_data", "offline_share")
    plain: dict[str, Any] = {group: OmegaConf.to_container(node, resolve=True) for group, node in nodes.items()}
    groups = {f"{group}.{key}": value for group, node in plain.items() for key, value in node.items()}
    return {**{name: cfg.get(name) for name in scalars}, **groups}


def resume_options(cfg: DictConfig) -> dict[str, Any]:
    """Return `other`, `keep` and `minutes` of `Checkpointer`.

    Raises ValueError for numbers out of range, FileNotFoundError where `resume` is not the folder of a run.
    """
    keep, minutes = cfg.keep_checkpoints, cfg.checkpoint_minutes
    if not isinstance(keep, int) or keep < 1:
        raise ValueError(f"keep_checkpoints={keep} must be at least 1, so that a run can be continued")
    if minutes is not None and (not isinstance(minutes, int | float) or minutes < 0):
        raise ValueError(f"checkpoint_minutes={minutes} must be 0 or more, or null for none by the clock")
    if cfg.resume is not None and not RunFolder(Path(cfg.resume)).any_config.is_file():
        raise FileNotFoundError(f"resume={cfg.resume} is not the folder of a run; type one that train.py made")
    return {"keep": keep, "minutes": minutes, "other": None if cfg.resume is None else Path(cfg.resume)}


def _check_offline(settings: Settings) -> None:
    share = settings.offline_share
    if share is not None and not 0 <= share <= 1:
        raise ValueError(f"offline_share={share} is no share; type a number from 0 to 1, or null for that of replay")
    if settings.offline_data is None and (settings.offline_updates or share is not None):
        raise ValueError("offline_updates and offline_share need data; type offline_data=<folder of a LeRobotDataset>")


def _check_worlds(settings: Settings) -> None:
    """Final evaluation, validation and training must never meet. Raises ValueError where their seeds overlap."""
    test = range(settings.test_seed, settings.test_seed + settings.eval_episodes)
    validation = range(settings.validation_seed, settings.validation_seed + settings.validation_episodes)
    if max(test.start, validation.start) < min(test.stop, validation.stop):
        raise ValueError(
            f"test_seed={test.start} and validation_seed={validation.start} share worlds; move them further apart"
        )
    if max(test.stop, validation.stop) > FIRST_DRAWN_SEED:
        raise ValueError(
            f"test_seed={test.start} and validation_seed={validation.start} reach into the training worlds, "
            f"which start at {FIRST_DRAWN_SEED}; choose smaller ones"
        )
