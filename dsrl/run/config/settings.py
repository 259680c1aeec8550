"""Reads the values of a config: scalars with types and ranges, groups whose components may be built.

conf/train.yaml -> cfg -> settings_of -> Settings      the scalars that belong to no group
                       -> checked(group) -> node       what dsrl.run.components.build will build, to the letter
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from annotated_types import Ge, Gt, Le
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dsrl.devices import Device
from dsrl.run.config.allow_list import check_targets
from dsrl.run.config.env_files import check_files
from dsrl.run.config.plugins import check_again, plugins_of
from dsrl.run.config.request import Request, requests
from dsrl.run.config.worlds import Episodes, Seed, check_apart
from dsrl.run.saved.config_files import config_of
from dsrl.run.saved.folder_checks import check_entries
from dsrl.run.saved.plain_yaml import check_references, read_checked, reading
from dsrl.run.terminal import ranges
from dsrl.run.terminal.installed import CONF, typed_option

GROUPS = ("task", "policy", "noise", "sac", "logging")  # conf/<group>/ builds only from dsrl/<group>/
OFFLINE_SHA256 = "offline_data_sha256"  # in the identity of checkpoints
NOT_OF_A_REQUEST = ("logging", "plugins", "files")  # keys of conf/eval.yaml that are not of one run
ADDED_LATER = (
    "learner_device",
    "confirm_episodes",
    "confirm_seed",
    "plot",
    "zero_noise",
    "stop_on_collapse",
    "best_of",
    "offline_data",
    "offline_updates",
    "offline_share",
    "offline_cloning_updates",
    "success_share",
)
"""What configs of earlier runs lack: they mean the values of conf/train.yaml."""

_EARLIER_SAC = {
    "regulariser": "entropy",
    "target_kl": 0.5,
    "n_step": 1,
    "discount_at_limit": 1.0,
    "exploration": "fresh",
    "target_draws": "fresh",
}
_EARLIER_VARIANTS_OF_NA = {
    "discount_at_limit": 1.0,
    "targets": "decoded",
    "exploration": "fresh",
    "target_draws": "fresh",
}
EARLIER: Mapping[str, Mapping[str, Any]] = {
    "dsrl.task.gym.GymTask": {"instruction": None},
    "dsrl.sac.dsrl_sac.build_dsrl_sac": _EARLIER_SAC,
    "dsrl.sac.dsrl_na.build_dsrl_na": {**_EARLIER_SAC, "base_draws": 0, "targets": "decoded"},
    "dsrl.sac.dsrl_edit.build_dsrl_edit": _EARLIER_VARIANTS_OF_NA,
    "dsrl.sac.dsrl_select.build_dsrl_select": _EARLIER_VARIANTS_OF_NA,
}
"""What tasks and algorithms of earlier runs lack, and did."""

Positive = Annotated[int, Ge(1)]
Budget = Annotated[int, Ge(0)]


@dataclass
class Settings:
    """The scalars of a run that belong to no group; conf/train.yaml says what each of them means."""

    seed: Seed
    num_envs: Annotated[int, Ge(1), Le(100_000)]
    horizon: Positive | None
    threads: Annotated[int, Ge(1), Le(4096)] | None
    learner_device: Device
    decisions: Budget
    warmup_decisions: Budget
    batch_size: Annotated[int, Ge(1), Le(1_000_000)]
    buffer_size: Annotated[int, Ge(1), Le(1_000_000_000)]
    utd: Annotated[float, Gt(0), Le(1000)]
    eval_episodes: Episodes
    test_seed: Seed
    zero_noise: bool
    eval_every: Positive
    validation_episodes: Episodes
    validation_seed: Seed
    confirm_episodes: Annotated[int, Ge(0), Le(1_000_000)]
    confirm_seed: Seed
    video_episodes: Budget
    plot: bool
    stop_on_collapse: bool
    best_of: Annotated[int, Ge(1), Le(100_000)] | None
    offline_data: str | None
    offline_updates: Budget
    offline_share: Annotated[float, Ge(0), Le(1)] | None
    offline_cloning_updates: Budget
    success_share: Annotated[float, Ge(0), Le(1)] | None

    @property
    def judging_worlds(self) -> dict[str, range]:
        """The worlds of final evaluation, validation and confirmation, each by the key of its first."""
        return {
            "test_seed": range(self.test_seed, self.test_seed + self.eval_episodes),
            "validation_seed": range(self.validation_seed, self.validation_seed + self.validation_episodes),
            "confirm_seed": range(self.confirm_seed, self.confirm_seed + self.confirm_episodes),
        }


TYPES: Mapping[str, Any] = get_type_hints(Settings, include_extras=True)
CHECKPOINT_TYPES: Mapping[str, Any] = {
    "resume": str | None,
    "keep_checkpoints": Positive,
    "checkpoint_minutes": Annotated[float, Ge(0)] | None,
}


def settings_of(cfg: DictConfig) -> Settings:
    """Return the scalars of a config. Raises ValueError for values of another type, out of range, or in conflict."""
    values = _scalars(cfg, TYPES)
    settings = Settings(**values)
    settings.utd = float(settings.utd)
    _check_budget(settings, warms_up=learns(cfg))
    _check_offline(settings)
    check_apart(settings.judging_worlds)
    return settings


def learns(cfg: DictConfig) -> bool:
    """Return whether the algorithm of a config has networks: a search has no discount and no warm-up."""
    return "gamma" in (cfg.get("sac") or {})


def check_scalars(cfg: DictConfig) -> None:
    """Raise ValueError where a scalar that belongs to no group has another type or is out of range."""
    _scalars(cfg, {**TYPES, **CHECKPOINT_TYPES})


def resume_options(cfg: DictConfig) -> dict[str, Any]:
    """Return `other`, `keep` and `minutes` of `Checkpointer`.

    Raises ValueError for values out of range, FileNotFoundError where `resume` names no run.
    """
    values = _scalars(cfg, CHECKPOINT_TYPES)
    other = None if values["resume"] is None else Path(values["resume"])
    if other is not None:
        saved_config(other, "resume", plugins_of(cfg), None)
    return {"keep": values["keep_checkpoints"], "minutes": values["checkpoint_minutes"], "other": other}


def saved_config(folder: Path, key: str, plugins: Sequence[str], files: Collection[str] | None = ()) -> DictConfig:
    """Load the config of a run folder, which `key` named on the command line; it may build from `plugins` alone.

    Its environment may open `files`; None where its task is not built.
    Raises ValueError where the run was made with others too, FileNotFoundError where the folder is of no run.
    """
    path = config_of(folder)
    if path is None:  # said first: a folder that is no run may have links that something else needs
        raise FileNotFoundError(f"{key}={folder} {_instead_of_a_run(folder, key)}")
    check_entries(folder)
    text = read_checked(path)
    with reading(path, OmegaConfBaseException):
        saved = OmegaConf.create(text)
        plain: Any = OmegaConf.to_container(saved, resolve=False)
    if not isinstance(saved, DictConfig) or any(group not in saved for group in GROUPS):
        raise ValueError(f"{path} is not a config of train.py: it lacks one of {', '.join(GROUPS)}; name another run")
    check_references(path, plain)
    check_again(plain, plugins, f"{key}={folder}")
    if files is not None and isinstance(saved.task, DictConfig):
        check_files(OmegaConf.to_container(saved.task, resolve=True), files, f"{key}={folder}")
    saved.plugins = list(plugins)
    if isinstance(saved.sac, DictConfig):
        saved.sac = OmegaConf.merge(EARLIER.get(str(saved.sac.get("_target_")), {}), saved.sac)
    return saved


def _instead_of_a_run(path: Path, key: str) -> str:
    """Word what is at a path where no run is, and what works."""
    found = "has no .hydra/config.yaml" if path.is_dir() else "is a file" if path.exists() else "does not exist"
    run = next((parent for parent in path.parents if path.exists() and config_of(parent)), None)
    return f"{found}; type " + ("the folder of a run of train.py" if run is None else typed_option(key, run))


def requests_of(cfg: DictConfig) -> list[Request]:
    """Return the requests of eval.py's config, see `dsrl.run.config.request.requests`."""
    plain: Any = OmegaConf.to_container(cfg)
    return requests({key: value for key, value in plain.items() if key not in NOT_OF_A_REQUEST})


def identity(cfg: DictConfig, nodes: Mapping[str, DictConfig]) -> dict[str, Any]:
    """Return the values that a run's checkpoints depend on, flat; budgets and most of evaluations may change."""
    budget = ("seed", "num_envs", "horizon", "warmup_decisions", "batch_size", "utd")
    scalars = (*budget, "offline_data", "offline_share", "success_share")
    cloning = cfg.get("offline_cloning_updates") or None  # None where off, as in checkpoints that lack it
    plain: dict[str, Any] = {group: OmegaConf.to_container(node, resolve=True) for group, node in nodes.items()}
    groups = {f"{group}.{key}": value for group, node in plain.items() for key, value in node.items()}
    return {**{name: cfg.get(name) for name in scalars}, "offline_cloning_updates": cloning, **groups}


def same_data(previous: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return both identities with recorded data named in one way: by its numbers, or as typed in older checkpoints."""
    ignored = "offline_data" if OFFLINE_SHA256 in previous and OFFLINE_SHA256 in now else OFFLINE_SHA256
    first, second = ({key: value for key, value in one.items() if key != ignored} for one in (previous, now))
    return first, second


def completed(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `identity` of a checkpoint with what task and algorithm of an earlier run lack, and did."""
    found = {group: EARLIER.get(str(identity.get(f"{group}._target_")), {}) for group in ("task", "sac")}
    lacking = {f"{group}.{key}": value for group, values in found.items() for key, value in values.items()}
    return {**lacking, **identity}


def checked(cfg: DictConfig, group: str) -> DictConfig:
    """Return a group with its interpolations resolved: what is checked here is, to the letter, what will be built.

    Raises ValueError for what is no component of ours, for options that it does not take, and for their values.
    """
    if not isinstance(cfg.get(group), DictConfig):
        raise ValueError(f"the config lacks the group {group}; `python train.py --help` shows its choices")
    plain: Any = OmegaConf.to_container(cfg[group], resolve=True)
    check_targets(plain, group, group, dict(references(cfg, group)), plugins_of(cfg))
    components = {f"{group}.{name}": node for name, node in plain.items()} if group == "logging" else {group: plain}
    for where, node in components.items():
        if not isinstance(node, dict) or "_target_" not in node:
            raise ValueError(f"{where} lacks _target_, so that nothing can be built; choose one of conf/{group}")
    if group == "task" and "num_envs" in cfg and plain.get("num_envs", cfg.num_envs) != cfg.num_envs:
        number = plain["num_envs"]
        raise ValueError(f"task.num_envs={number} must equal num_envs={cfg.num_envs}; type num_envs={number}")
    return DictConfig(plain)


def references(cfg: DictConfig, group: str) -> Iterator[tuple[str, str]]:
    """Yield the keys of a group that take the value of a key without a group, such as (sac.gamma, gamma)."""
    node = OmegaConf.to_container(cfg[group], resolve=False) if OmegaConf.is_config(cfg.get(group)) else {}
    assert isinstance(node, dict)
    for key, value in node.items():
        match = re.fullmatch(r"\$\{(\w+)\}", value) if isinstance(value, str) else None
        if match:
            yield f"{group}.{key!s}", match[1]


def _scalars(cfg: DictConfig, types: Mapping[str, Any]) -> dict[str, Any]:
    """Return the named scalars of a config, each of its declared type and in its range."""
    lacking = [name for name in types if name not in cfg]
    for name in lacking:
        if name not in ADDED_LATER:
            raise ValueError(f"the config lacks {name}; conf/train.yaml says what it means")
    defaults: Any = OmegaConf.load(CONF / "train.yaml") if lacking else {}
    values = {}
    for name, declared in types.items():
        value = cfg[name] if name in cfg else defaults[name]
        values[name] = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        ranges.check(name, values[name], declared)
    return values


def _check_budget(settings: Settings, *, warms_up: bool) -> None:
    offline = settings.offline_data is not None and settings.offline_updates > 0
    if settings.buffer_size < settings.num_envs:
        raise ValueError(
            f"buffer_size={settings.buffer_size} must be at least the {settings.num_envs} worlds of num_envs; "
            f"type buffer_size={settings.num_envs} or more"
        )
    if settings.decisions == 0 and not offline:
        raise ValueError("decisions=0 must be at least 1; without play, offline_data and offline_updates are needed")
    if warms_up and settings.warmup_decisions >= settings.decisions + offline:
        raise ValueError(
            f"warmup_decisions={settings.warmup_decisions} leaves nothing of decisions={settings.decisions}; "
            "type a larger decisions or a smaller warmup_decisions"
        )
    if warms_up and settings.warmup_decisions == 0 and settings.offline_data is None:
        raise ValueError(
            "warmup_decisions=0 leaves no play by which features and rewards are scaled; "
            f"type warmup_decisions={settings.num_envs} or more, or give offline_data"
        )


def _check_offline(settings: Settings) -> None:
    if settings.offline_data is not None:
        return
    for name in ("offline_updates", "offline_share", "offline_cloning_updates"):
        value = getattr(settings, name)
        if value not in (None, 0):
            raise ValueError(f"{name}={value} needs data; type offline_data=<folder of a LeRobotDataset>")
