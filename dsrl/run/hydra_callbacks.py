"""A Hydra callback for searches of hyperparameters with Optuna."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepFolder(Callback):
    """Creates the folder of a sweep, in which the sweeper opens its database."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Create the folder; Hydra calls this before it builds the sweeper."""
        Path(config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
