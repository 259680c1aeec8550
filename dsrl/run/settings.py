"""The scalars of conf/train.yaml that belong to no group, typed, and what of them cannot go together."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields

from omegaconf import DictConfig, OmegaConf

from dsrl.noise_action_env import FIRST_DRAWN_SEED

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
