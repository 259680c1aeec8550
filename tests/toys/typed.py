"""train.py and eval.py as they are typed, but in this process: composed, checked, run, and their last sentence."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from dsrl.run.config.typed_keys import check_eval, check_train
from dsrl.run.evaluate import evaluate
from dsrl.run.terminal.errors import run
from dsrl.run.train import train
from toys.commands import CONF, SHORT_PENDULUM


def type_train(folder: Path, *overrides: str, start: Sequence[str] = SHORT_PENDULUM) -> str | int | None:
    """Run a short pendulum, or what `start` is, in `folder`; returns the sentence or exit code of an early end."""
    searches = "sac=golden_ticket" in overrides
    short = [one for one in start if not (searches and one.startswith(("warmup_", "batch_", "eval_every")))]

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
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(name, list(overrides), return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.runtime.output_dir = str(folder)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


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
