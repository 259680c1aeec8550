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

    Raises UserError for keys that do not exist and values out of range.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException

    from dsrl.run.config.settings import checked, settings_of
    from dsrl.run.config.typed_keys import check_once
    from dsrl.run.terminal.errors import UserError, explain, user_errors
    from dsrl.run.terminal.typed_words import with_home

    overrides = with_home(overrides)
    try:
        with user_errors():
            check_once(overrides)
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", ["logging=none", *overrides])
    except HydraException as error:
        raise UserError(explain(error)) from error
    with user_errors():
        settings_of(cfg)
        for group in ("task", "policy", "noise", "sac"):
            checked(cfg, group)
    return cfg
