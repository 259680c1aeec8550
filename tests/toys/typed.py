"""train.py and eval.py as they are typed, but in this process: composed, checked, run, and their last sentence."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from unittest.mock import patch

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from dsrl.run.config.typed_keys import check_eval, check_train
from dsrl.run.evaluate import evaluate
from dsrl.run.terminal.errors import run
from dsrl.run.train import train
from toys.commands import CONF, SHORT_PENDULUM

FEW_UPDATES = (*SHORT_PENDULUM, "utd=0.2")  # 16 gradient steps, which would take more than half of the run's time
_FOLDER = re.compile(r"(run|resume|out)=(/[\w./-]+)")  # of one command each, unlike the rest of what is typed


def type_train(folder: Path, *overrides: str, start: Sequence[str] = FEW_UPDATES) -> str | int | None:
    """Run a short pendulum, or what `start` is, in `folder`; returns the sentence or exit code of an early end."""
    searches = "sac=golden_ticket" in overrides
    short = [one for one in start if not (searches and one.startswith(("warmup_", "batch_", "eval_every", "utd")))]

    def main() -> None:
        cfg = _composed("train", folder, *short, "plot=false", *overrides)
        check_train(cfg)
        train(cfg)

    return _ending(main)


def type_eval(*overrides: str) -> str | int | None:
    """Run eval.py; returns the sentence or exit code of one that ends early, else None."""

    def main() -> None:
        cfg = _composed("eval", Path(), *overrides)
        check_eval(cfg)
        evaluate(cfg)

    return _ending(main)


def _composed(name: str, folder: Path, *overrides: str) -> DictConfig:
    """Return a config as train.py or eval.py receives it, with what Hydra knows of the job set."""
    folders = dict(found.groups() for one in overrides if (found := _FOLDER.fullmatch(one)))
    cfg = deepcopy(_composed_once(name, *(one for one in overrides if not _FOLDER.fullmatch(one))))
    with open_dict(cfg):
        for key, path in folders.items():
            OmegaConf.update(cfg, key, path)
        cfg.hydra.overrides.task = list(overrides)
        cfg.hydra.runtime.cwd = os.getcwd()
        cfg.hydra.runtime.output_dir = str(folder)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


@cache
def _composed_once(name: str, *overrides: str) -> DictConfig:
    """Compose a config; Hydra reads 28 files for each, and many commands of a test differ in folders alone."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, list(overrides), return_hydra_config=True)


def _ending(main: object) -> str | int | None:
    try:
        with patch.object(sys, "argv", ["train.py"]):  # without the flags of pytest
            run(main)  # type: ignore[arg-type]
    except SystemExit as ended:
        return ended.code
    return None


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder, and the target of every link, without the lock file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = os.readlink(path)
        elif path.is_file() and path.name != ".lock":
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif not path.is_file():
            found[str(path.relative_to(folder))] = str(path.lstat().st_mode)
    return found


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Run the block without root's right to write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
