"""The sentence that refuses a command of train.py, found in this process: composing and checking, nothing built."""

from __future__ import annotations

from functools import lru_cache

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from dsrl.run.config.typed_keys import check_train
from dsrl.run.terminal.errors import UserError, explain
from toys.commands import CONF

_CHECKPOINT = ("policy.path=some/policy",)
_OF_LEROBOT = ("lerobot", "pi0", "pi05", "pusht", "aloha", "libero")
NEEDS = {"gym": ("task.id=Pendulum-v1",), **dict.fromkeys(_OF_LEROBOT, _CHECKPOINT)}
"""Choice -> the values without which it is refused."""


def composed(*overrides: str) -> DictConfig:
    """Return the config of train.py as a job receives it, with Hydra's own part."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", list(overrides), return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.runtime.output_dir = "outputs/test"
    return cfg


def complaint(*overrides: str) -> str | None:
    """Return the sentence with which train.py refuses overrides, None where it accepts them."""
    try:
        cfg, hydra = _composed_once(overrides)
    except HydraException as error:
        return f"error: {explain(error)}"
    HydraConfig.instance().cfg = hydra
    return _refusal(cfg.copy())


def complaint_about(value: str, *needs: str) -> str | None:
    """Return the same for one key=value of an existing key beside overrides, which are composed only once."""
    whole, hydra = _composed_once(needs)
    cfg = whole.copy()
    (override,) = OverridesParser.create().parse_overrides([value])
    OmegaConf.update(cfg, override.key_or_group, override.value(), merge=False)
    HydraConfig.instance().cfg = hydra
    hydra.hydra.overrides.task.append(value)
    try:
        return _refusal(cfg)
    finally:
        hydra.hydra.overrides.task.pop()


@lru_cache(maxsize=64)  # several tests in a row look at the same
def _composed_once(needs: tuple[str, ...]) -> tuple[DictConfig, DictConfig]:
    """Return a config without Hydra's own part, and that part, which is large to copy for each value."""
    cfg = composed(*needs)
    hydra = _without_hydra(cfg)
    OmegaConf.set_readonly(hydra.hydra, False)
    return cfg, hydra


def complaint_of(cfg: DictConfig) -> str | None:
    """Return the same for a config of `composed`, from which it removes Hydra's own part."""
    _without_hydra(cfg)
    return _refusal(cfg)


def _without_hydra(cfg: DictConfig) -> DictConfig:
    """Give Hydra its own part of a config, as a job does, and remove it there; returns that part."""
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    hydra: DictConfig = HydraConfig.instance().cfg
    return hydra


def _refusal(cfg: DictConfig) -> str | None:
    try:
        check_train(cfg)
    except SystemExit as refused:
        return str(refused)
    except UserError as refused:  # in a sweep, whose launcher receives it
        return f"error: {refused}"
    return None
