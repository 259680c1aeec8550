"""Builds the parts of a `train.py` run for scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dsrl.run.terminal.installed import CONF


def build_parts(overrides: Sequence[str], announce: Callable[[str], None] = print) -> Any:
    """Return the `Parts` of `python train.py` with `overrides`; starts no simulation, and noise=auto stays full noise.

    Raises UserError for overrides that cannot work.
    """
    cfg = composed(overrides)
    from dsrl.run.components.build import build  # loads torch, which a misspelled key need not wait for

    return build(cfg, announce)


def composed(overrides: Sequence[str]) -> Any:
    """Return the config of `python train.py` with `overrides`, before torch is loaded.

    Raises UserError for keys that do not exist, values out of range, choices that contradict each other, and plugins
    that nobody typed.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import open_dict

    from dsrl.run.config.plugins import check_typed_plugins
    from dsrl.run.config.settings import checked, settings_of
    from dsrl.run.config.typed_choices import check_choices
    from dsrl.run.config.typed_keys import check_once, typed_keys
    from dsrl.run.terminal.choices import folders_of
    from dsrl.run.terminal.errors import UserError, explain, user_errors
    from dsrl.run.terminal.typed_words import with_home

    overrides = with_home(overrides)
    try:
        with user_errors():
            check_once(overrides)
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", ["logging=none", *overrides], return_hydra_config=True)
    except HydraException as error:
        raise UserError(explain(error)) from error
    with open_dict(cfg):
        runtime = cfg.pop("hydra").runtime
    with user_errors():
        typed = typed_keys(overrides)
        check_choices(typed, runtime.choices, folders_of(runtime.config_sources))
        check_typed_plugins(cfg, typed)
        settings_of(cfg)
        for group in ("task", "policy", "noise", "sac"):
            checked(cfg, group)
    return cfg
