"""Starts the console commands that a wheel installs: dsrl-train is train.py, dsrl-compare is scripts.compare, …"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from importlib import import_module

import hydra
from omegaconf import DictConfig

from dsrl.run.config.typed_keys import check_eval, check_train
from dsrl.run.terminal.errors import run
from dsrl.run.terminal.installed import CONF, IN_CLONE, ROOT, as_typed


def run_experiment(cfg: DictConfig) -> float:
    """Check the config of train.py, run the experiment and return its score."""
    check_train(cfg)  # wrong values and keys without effect show before torch is loaded
    from dsrl.run.train import train as run_checked  # not above: `--help` answers without loading torch

    return run_checked(cfg)


def repeat_evaluation(cfg: DictConfig) -> float:
    """Check the config of eval.py, repeat the evaluation and return its score."""
    check_eval(cfg)
    from dsrl.run.evaluate import evaluate as evaluate_runs

    return evaluate_runs(cfg)


def train() -> None:
    """Start train.py."""
    _start("train", run_experiment)


def evaluate() -> None:
    """Start eval.py."""
    _start("eval", repeat_evaluation)


def _start(name: str, main: Callable[[DictConfig], float]) -> None:
    """Let Hydra compose conf/<name>.yaml and call `main`; its help page gets the commands of this installation."""
    composed = hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(main)
    page = io.StringIO()
    try:
        with redirect_stdout(page) if {"--help", "-h"} & {*sys.argv} else nullcontext():
            run(composed)
    finally:  # Hydra ends the program after a help page
        print(as_typed(page.getvalue()), end="")


def compare() -> None:
    """Start scripts.compare."""
    _script("compare")


def preflight() -> None:
    """Start scripts.preflight."""
    _script("preflight")


def export() -> None:
    """Start scripts.export."""
    _script("export")


def doctor() -> None:
    """Start scripts.doctor."""
    _script("doctor")


def _script(name: str) -> None:
    if IN_CLONE:
        sys.path.insert(0, str(ROOT))  # where scripts/ lies
    else:
        import_module("dsrl.scripts")  # makes itself known as `scripts`
    import_module(f"scripts.{name}.__main__").main()
