"""Starts the console commands that a wheel installs: dsrl-train is train.py, dsrl-compare is scripts.compare, …"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from importlib import import_module

import hydra
from omegaconf import DictConfig

from dsrl.run.errors import run
from dsrl.run.installed import CONF, IN_CLONE, ROOT, as_typed
from dsrl.run.typed_keys import check_eval, check_train


def train() -> None:
    """Start train.py."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported
    _start("train", _train)


def evaluate() -> None:
    """Start eval.py."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    _start("eval", _evaluate)


def _start(name: str, main: Callable[[DictConfig], float]) -> None:
    """Let Hydra compose conf/<name>.yaml and call `main`; its help page gets the commands of this installation."""
    composed = hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(main)
    page = io.StringIO()
    try:
        with redirect_stdout(page) if {"--help", "-h"} & {*sys.argv} else nullcontext():
            run(composed)
    finally:  # Hydra ends the program after a help page
        print(as_typed(page.getvalue()), end="")


def _train(cfg: DictConfig) -> float:
    """Run the experiment, as `main` of train.py does."""
    check_train(cfg)
    from dsrl.run.train import train as run_experiment

    return run_experiment(cfg)


def _evaluate(cfg: DictConfig) -> float:
    """Repeat an evaluation, as `main` of eval.py does."""
    check_eval(cfg)
    from dsrl.run.evaluate import evaluate as evaluate_runs

    return evaluate_runs(cfg)


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
